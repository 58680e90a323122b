/* SPDX-License-Identifier: MIT */
/*
 * A user of libvellum that happens to have names any memory manager would use inside. Neither
 * side may get the other's.
 */
#include <stdio.h>
#include <vellum/errno.h>

struct vma {
	int ours;
};

static int calls;

int helper(int x);
int pte_wrprotect(int pte);
struct vma *find_vma(struct vma *all, int ours);

int helper(int x)
{
	calls++;
	return x + 1;
}

int pte_wrprotect(int pte)
{
	return helper(pte);
}

struct vma *find_vma(struct vma *all, int ours)
{
	while (all->ours != ours)
		all += pte_wrprotect(0);
	return all;
}

int main(void)
{
	struct vma all[] = {{1}, {2}, {3}};
	const char *text = vellum_strerror(-VELLUM_EINVAL);

	if (!text || !*text) {
		fprintf(stderr, "vellum_strerror: no text\n");
		return 1;
	}
	if (calls) {
		fprintf(stderr, "the library called the program's helper\n");
		return 1;
	}
	if (find_vma(all, 3) != &all[2] || calls != 2) {
		fprintf(stderr, "the program got the library's functions\n");
		return 1;
	}
	return 0;
}

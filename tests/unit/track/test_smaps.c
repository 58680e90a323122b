/* SPDX-License-Identifier: MIT */
/* The usage of a VMA, and the texts of maps and smaps. */
#include "swap_support.h"

#include "vellum/pagemap.h"

static struct vellum_vma_usage usage_at(struct vellum_mm *mm, uint64_t addr, struct vellum_vma_info *info)
{
	struct vellum_vma_usage u;

	OK(vellum_vma_usage(mm, addr, info, &u));
	return u;
}

static void usage_counts_pages(void **state)
{
	struct world *w = *state;
	struct vellum_vma_info info;
	struct vellum_vma_usage u;
	struct vellum_mm *child;
	struct disk d;

	disk_create(&d, w, 16);
	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	load(w->cpu[0], PAGE(5));	/* the zero page does not count */
	OK(vellum_madvise(w->mm, PAGE(3), PAGE_SIZE, VELLUM_MADV_PAGEOUT));
	u = usage_at(w->mm, PAGE(2), &info);
	assert_int_equal(u.size, BYTES(8));
	assert_int_equal(u.rss, BYTES(3));
	assert_int_equal(u.pss, BYTES(3));
	assert_int_equal(u.private_dirty, BYTES(3));
	assert_int_equal(u.anonymous, BYTES(3));
	assert_int_equal(u.swap, PAGE_SIZE);
	assert_int_equal(u.swap_pss, PAGE_SIZE);
	assert_int_equal(info.start, PAGE(0));
	child = fork_on(w->mm, w->cpu[1]);
	u = usage_at(w->mm, PAGE(0), &info);
	assert_int_equal(u.pss, BYTES(3) / 2);
	assert_int_equal(u.shared_dirty, BYTES(3));
	assert_int_equal(u.private_dirty, 0);
	assert_int_equal(u.swap_pss, PAGE_SIZE / 2);
	end_child(child, w->cpu[1]);
	OK(vellum_madvise(w->mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_FREE));
	assert_int_equal(usage_at(w->mm, PAGE(0), &info).lazyfree, PAGE_SIZE);
	OK(vellum_mlock(w->mm, PAGE(1), PAGE_SIZE, 0));
	u = usage_at(w->mm, PAGE(1), &info);
	assert_int_equal(u.locked, PAGE_SIZE);
	assert_string_equal(u.vm_flags, "rd wr mr mw me lo sd ");
	assert_int_equal(vellum_vma_usage(w->mm, PAGE(100), &info, &u), -ENOENT);
	OK(vellum_swap_remove(w->memory, d.area));
	disk_destroy(&d);
}

static void line_of_maps(void **state)
{
	struct world *w = *state;
	const struct vellum_vma_name name = { "/lib/a\nb", 8, 1, 42 }, none = { "", 0, 0, 0 };
	struct counting *c = new_counting();
	struct vellum_mapping *object = new_object(w, c, 16);
	struct vellum_vma_info info;
	char buf[200], cut[8];
	int len;

	map_object(w->mm, 0, 2, RO, VELLUM_MAP_SHARED, object, 3, RW);
	map_at(w->mm, 4, 1, RW, ANON);
	OK(vellum_vma_next(w->mm, PAGE(0), &info));
	len = vellum_maps_line(&info, &name, buf, sizeof(buf));
	assert_int_equal(len, strlen(buf));
	assert_string_equal(buf, "100000000-100002000 r--s 00003000 08:01 42                               "
				 "/lib/a\\012b\n");
	OK(vellum_vma_next(w->mm, PAGE(4), &info));
	vellum_maps_line(&info, &none, buf, sizeof(buf));
	assert_string_equal(buf, "100004000-100005000 rw-p 00000000 00:00 0\n");
	assert_int_equal(vellum_maps_line(&info, &none, cut, sizeof(cut)), strlen(buf));
	assert_string_equal(cut, "1000040");
	unmap(w->mm, 0, 8);
	vellum_mapping_put(object);
}

/* The next line of @text with the same name, up to the colon, as the line at @line. NULL: none. */
static const char *same_label(const char *text, const char *line)
{
	size_t len = strcspn(line, ":") + 1;

	for (; text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL)
		if (!strncmp(text, line, len))
			return text;
	return NULL;
}

/* Vellum's lines are among the host's, in the same order. A kernel may have more lines. */
static void lines_of_smaps(void **state)
{
	struct world *w = *state;
	const struct vellum_vma_name none = { "", 0, 0, 0 };
	struct vellum_vma_info info;
	struct vellum_vma_usage u;
	static char ours[4096], theirs[8192];
	FILE *f = fopen("/proc/self/smaps", "r");
	const char *at = theirs;
	char *flags;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	u = usage_at(w->mm, PAGE(0), &info);
	assert_in_range(vellum_smaps_text(&info, &u, &none, ours, sizeof(ours)), 400, sizeof(ours) - 1);
	assert_non_null(strstr(ours, "\nRss:                   4 kB\n"));
	assert_non_null(strstr(ours, "\nVmFlags: rd wr mr mw me sd \n"));
	if (!f || !fread(theirs, 1, sizeof(theirs) - 1, f)) {
		if (f)
			fclose(f);
		skip();
	}
	fclose(f);
	flags = strstr(theirs, "\nVmFlags:");	/* the last line of the first VMA */
	assert_non_null(flags);
	flags[strlen("\nVmFlags:")] = '\0';
	for (const char *line = strchr(ours, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
		at = same_label(at, line);
		if (!at)
			fail_msg("not a line of the host, or in another place: %.*s", (int)strcspn(line, "\n"), line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(usage_counts_pages),
		WORLD_TEST(line_of_maps),
		WORLD_TEST(lines_of_smaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

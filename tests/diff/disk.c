/* SPDX-License-Identifier: MIT */
/* tests/diff/disk.c - the backing of FILE_OBJECT on Vellum's side: an array as a disk. */
#include "tests/diff/diff.h"

static char disk[DISK_PAGES * PAGE];

static int read_page(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	if (vmf->pgoff >= DISK_PAGES)
		return VELLUM_VMF_SIGBUS;
	memcpy(vmf->page, disk + vmf->pgoff * PAGE, PAGE);
	return VELLUM_VMF_OK;
}

static int write_page(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	(void)ctx;
	memcpy(disk + pgoff * PAGE, page, len);
	return 0;
}

static int sync_disk(void *ctx)
{
	(void)ctx;
	return 0;
}

static int punch(void *ctx, uint64_t offset, uint64_t len)
{
	(void)ctx;
	if (offset < sizeof(disk))
		memset(disk + offset, 0, len < sizeof(disk) - offset ? len : sizeof(disk) - offset);
	return 0;
}

void disk_cut(uint64_t size)
{
	punch(NULL, size, sizeof(disk));
}

const struct vellum_backing_ops disk_ops = {
	.size = sizeof(disk_ops), .fault = read_page, .writepage = write_page, .sync = sync_disk, .punch = punch,
};

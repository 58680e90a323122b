/* SPDX-License-Identifier: MIT */
/*
 * vellum/version.h - the version, and what stays as it is between versions.
 *
 * Structures: each structure that the caller or a hook fills or reads begins with `size`, sizeof the structure as the
 * caller compiled it. Later versions add fields at the end only. A smaller structure is accepted: the fields that it
 * lacks are 0, and are not written. A larger one is accepted if its additional bytes are 0; else the call returns
 * -VELLUM_E2BIG, as for a size of more than 4096. A size of 0 is -VELLUM_EINVAL, and so is a
 * smaller one that is no multiple of 8, as that could cut a field in two. The core copies tables of hooks, so the caller
 * may free them.
 * Three structures have no size: struct vellum_uffd_msg and struct vellum_page_region are Linux's, which are fixed, and
 * struct vellum_soft_cpu is the library's own, read by inline functions, and grows at its end only.
 *
 * Symbols: those of the shared library have the version in which they appeared, VELLUM_0.1 and so on. A program that
 * was linked with 0.1 runs with each later library of the same SONAME. Before 1.0 a change that breaks programs gets
 * another SONAME, and stands in CHANGELOG.md.
 *
 * Units: addresses, lengths and offsets are in bytes, unless a description says pages. Names with `pgoff`, `page`,
 * `pfn`, `nr_pages` or `nr_frames` count pages of 4096 bytes. Times are in nanoseconds.
 *
 * Callbacks: a hook gets the context that was given with it as its first argument, called @ctx or @host in tables of
 * hooks and @arg for a single function. A function that is called for each element returns 0 to continue; any other
 * value ends the call, which returns it. A hook that can fail returns 0 or a negative VELLUM_E*, unless its description
 * says otherwise (VELLUM_VMF_*). No hook may call the core, unless its description allows it.
 */
#ifndef VELLUM_VERSION_H
#define VELLUM_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

#define VELLUM_VERSION_MAJOR	0
#define VELLUM_VERSION_MINOR	1
#define VELLUM_VERSION_PATCH	0

/* The version of the headers as one number that grows: 0x000100 is 0.1.0. */
#define VELLUM_VERSION \
	(VELLUM_VERSION_MAJOR << 16 | VELLUM_VERSION_MINOR << 8 | VELLUM_VERSION_PATCH)

/** vellum_version - the library's VELLUM_VERSION, which may be later than that of the headers. Any thread, any time. */
unsigned vellum_version(void);

#ifdef __cplusplus
}
#endif
#endif

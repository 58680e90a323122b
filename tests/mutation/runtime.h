/* SPDX-License-Identifier: MIT */
/* tests/mutation/runtime.h - which mutant is active. The compiler includes it in front of every mutated file. */
#ifndef TESTS_MUTATION_RUNTIME_H
#define TESTS_MUTATION_RUNTIME_H

/* Also for shared objects and other tools that link an object of the library. */
extern __attribute__((visibility("default"))) unsigned vellum_mutant;		/* 0: none */
extern __attribute__((visibility("default"))) unsigned char *vellum_reached;	/* a byte for each site; NULL: not recorded */

/* Whether one of the mutants of a site is active. The site's first mutant is its number in the record. */
#define VELLUM_MUTANT_IN(first, nr) vellum_mutant_in(first, nr)

static inline __attribute__((always_inline)) int vellum_mutant_in(unsigned first, unsigned nr)
{
	if (__builtin_expect(vellum_reached != 0, 0))
		vellum_reached[first] = 1;
	return __builtin_expect(vellum_mutant - first < nr, 0);
}

#endif

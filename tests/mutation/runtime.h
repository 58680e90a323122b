/* SPDX-License-Identifier: MIT */
/* tests/mutation/runtime.h - which mutant is active. The compiler includes it in front of every mutated file. */
#ifndef TESTS_MUTATION_RUNTIME_H
#define TESTS_MUTATION_RUNTIME_H

/* Not hidden, as the objects of tests use them too. */
extern __attribute__((visibility("default"))) unsigned vellum_mutant;	/* 0: none */
/* A byte for each site; NULL: not recorded. */
extern __attribute__((visibility("default"))) unsigned char *vellum_reached;

/* Whether one of the mutants of a site is active. The site's first mutant is its number in the record. */
#define VELLUM_MUTANT_IN(first, nr) vellum_mutant_in(first, nr)

static inline __attribute__((always_inline)) int vellum_mutant_in(unsigned first, unsigned nr)
{
	if (__builtin_expect(vellum_reached != 0, 0))
		vellum_reached[first] = 1;
	return __builtin_expect(vellum_mutant - first < nr, 0);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * lib/annotate.h - lock contracts of functions, which clang checks at compile time (-Wthread-safety).
 *
 * The annotations go behind the parameter list and name locks by the parameters: HOLDS(&folio->lock). clang compares
 * such expressions as text, after it has replaced parameters by arguments. So the checked code must not reach one lock
 * by two expressions within one function. NO_LOCK_ANALYSIS exempts a function; a comment there says why.
 *
 * The fields that a lock protects are not annotated: in C, clang 14 does not accept a sibling member as their guard.
 * Functions that change such fields call mutex_assert_held() and the like (lib/lock.h).
 */
#ifndef LIB_ANNOTATE_H
#define LIB_ANNOTATE_H

#ifdef __clang__
#define ATTRIBUTE_OF_CLANG(x) __attribute__((x))
#else
#define ATTRIBUTE_OF_CLANG(x)
#endif

#define CAPABILITY(name)	ATTRIBUTE_OF_CLANG(capability(name))
/* The function takes the lock, which the caller must not hold. */
#define ACQUIRES(...)		ATTRIBUTE_OF_CLANG(acquire_capability(__VA_ARGS__))
#define ACQUIRES_SHARED(...)	ATTRIBUTE_OF_CLANG(acquire_shared_capability(__VA_ARGS__))
/* The function takes the lock if it returns @value. */
#define TRY_ACQUIRES(value, ...) ATTRIBUTE_OF_CLANG(try_acquire_capability(value, __VA_ARGS__))
/* The function releases the lock, which the caller must hold. */
#define RELEASES(...)		ATTRIBUTE_OF_CLANG(release_capability(__VA_ARGS__))
#define RELEASES_SHARED(...)	ATTRIBUTE_OF_CLANG(release_shared_capability(__VA_ARGS__))
/* The caller must hold the lock, and still holds it afterwards. SHARED: for reading at least. */
#define HOLDS(...)		ATTRIBUTE_OF_CLANG(requires_capability(__VA_ARGS__))
#define HOLDS_SHARED(...)	ATTRIBUTE_OF_CLANG(requires_shared_capability(__VA_ARGS__))
/* The caller must not hold the lock. */
#define EXCLUDES(...)		ATTRIBUTE_OF_CLANG(locks_excluded(__VA_ARGS__))
/* From here on the analysis takes the lock as held. */
#define ASSERTS_HELD(...)	ATTRIBUTE_OF_CLANG(assert_capability(__VA_ARGS__))
#define ASSERTS_HELD_SHARED(...) ATTRIBUTE_OF_CLANG(assert_shared_capability(__VA_ARGS__))
#define NO_LOCK_ANALYSIS	ATTRIBUTE_OF_CLANG(no_thread_safety_analysis)

#endif

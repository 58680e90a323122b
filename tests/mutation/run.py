#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Mutation testing of the core: each mutant is one way to break the code, and a test must fail for it.

Without options, every mutant without a result is run. Results are kept in build/mutation/state, so a run that was
stopped is resumed. `make mutation MUTATION='OPTIONS'` installs what is needed first.
"""
import argparse
import fnmatch
import os
import random
import signal
import sys
import time

sys.dont_write_bytecode = True
import process    # noqa: E402
import state as results    # noqa: E402
import tree    # noqa: E402


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-j", "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="tests at a time")
    p.add_argument("--file", action="append", default=[], metavar="PATTERN", help="only mutants of these files")
    p.add_argument("--function", action="append", default=[], metavar="NAME", help="only mutants of these functions")
    p.add_argument("--kind", action="append", default=[], help="only these kinds of mutants")
    p.add_argument("--first", action="append", default=[], metavar="PATTERN", help="begin with these files, in order")
    p.add_argument("--sample", type=int, metavar="N", help="only N of them, at random")
    p.add_argument("--seed", type=int, help="of the sample; default: the time")
    p.add_argument("--again", nargs="*", metavar="NUMBER", help="run these mutants again; without numbers, all "
                   "selected ones that are not known to be killed")
    p.add_argument("--redo", action="store_true", help="run all selected mutants again")
    p.add_argument("--full", action="store_true", help="all tests, whatever they take; also runs again what "
                   "survived only a part of them")
    p.add_argument("--seconds", type=float, default=5, metavar="S", help="of tests for each mutant, the fastest first; "
                   "the others are left out; default: %(default)s")
    p.add_argument("--list", action="store_true", help="list the selected mutants with their results, and run none")
    p.add_argument("--survivors", action="store_true", help="list the mutants that no test kills, and run none")
    p.add_argument("--keys", action="store_true", help="list them as lines of tests/mutation/equivalents, without the "
                   "reason")
    p.add_argument("--check", action="store_true", help="TAP: run what was killed before, or has no result and is in "
                   "no list; each survivor is a failure")
    p.add_argument("--save-survivors", action="store_true", help="write tests/mutation/survivors")
    p.add_argument("--table", action="store_true", help="write docs/mutation.md")
    p.add_argument("--coverage", action="store_true", help="measure line and branch coverage for --table")
    p.add_argument("--generate", action="store_true", help="only make and build the mutants")
    return p.parse_args()


def matches(path, patterns):
    return any(fnmatch.fnmatch(path, p) or path.startswith(p) for p in patterns)


def select(mutants, state, equal, options):
    chosen = [m for m in mutants if m.key not in equal]
    if options.file:
        chosen = [m for m in chosen if matches(m.file, options.file)]
    if options.function:
        chosen = [m for m in chosen if m.function in options.function]
    if options.kind:
        chosen = [m for m in chosen if m.kind in options.kind]
    if options.again:
        chosen = [m for m in chosen if str(m.number) in options.again]
    elif options.again is not None:
        chosen = [m for m in chosen if state.of(m) not in (results.KILLED, None)]
    if options.check:
        known = results.survivors()
        chosen = [m for m in chosen if state.of(m) in (results.KILLED, None) and m.identity() not in known]
    if options.sample is not None:
        seed = options.seed if options.seed is not None else int(time.time())
        print(f"# seed {seed}")
        chosen = random.Random(seed).sample(sorted(chosen, key=lambda m: m.key), min(options.sample, len(chosen)))
    order = {m.number: next((i for i, p in enumerate(options.first) if matches(m.file, [p])), len(options.first))
             for m in chosen}
    return sorted(chosen, key=lambda m: (order[m.number], m.number))


def to_run(chosen, state, options):
    if options.again is not None or options.redo or options.check:
        return chosen
    void = (None, results.PARTLY) if options.full else (None,)
    return [m for m in chosen if state.of(m) in void]


def show(chosen, state, options):
    """List all chosen mutants with --list or --again NUMBER, else those that no test kills."""
    every = options.list or options.again
    for m in chosen:
        result, by = state.results.get(m.key, ("not run", ""))
        if options.keys:
            if every or result not in (results.KILLED, "not run"):
                print("\t".join(m.key))
        elif every or result not in (results.KILLED, "not run"):
            print(f"{m.number}\t{result} ({by})\t{m.describe()}" if by else f"{m.number}\t{result}\t{m.describe()}")


def check(chosen, state):
    """TAP lines for the mutants that have just been run."""
    bad = 0
    for m in chosen:
        if state.of(m) == results.KILLED:
            print(f"ok - mutant {m.number} is killed by {state.results[m.key][1]}")
        else:
            bad = 1
            print(f"not ok - mutant {m.number} survives: {m.describe()}")
            print(f"# again: make mutation MUTATION='--again {m.number}'")
    return bad


def main():
    options = arguments()
    process.no_core_dumps()
    signal.signal(signal.SIGTERM, signal.default_int_handler)    # running tests end first
    mutants, digest = tree.generate()
    equal = results.equivalents(mutants)
    state = results.State(mutants)
    if options.coverage:
        import coverage
        coverage.measure(options.jobs)
    if options.table:
        import table
        table.write(mutants, state, equal)
    if options.save_survivors:
        results.save_survivors(mutants, state, equal)
    if options.table or options.coverage or options.save_survivors:
        return 0
    chosen = select(mutants, state, equal, options)
    if options.list or options.survivors or options.keys:
        show(chosen, state, options)
        return 0
    tree.build(options.jobs)
    if options.generate:
        print(f"{len(mutants)} mutants in {tree.SRC}")
        return 0
    import cases
    import runner
    recorded = cases.load(mutants, digest, options.jobs)
    runner.Runner(cases.by_site(recorded), state, options).run(to_run(chosen, state, options))
    if options.again:
        show(chosen, state, options)
    return check(chosen, state) if options.check else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the next run goes on from here")

# SPDX-License-Identifier: MIT
"""docs/mutation.md: mutants and coverage by file."""
import collections

import coverage
import state as results
import tree

HEAD = """# Mutation testing of the core

A mutant is one way to break the code on purpose: a condition that is always true, a call that is left out, a bit that
is missing in a mask. A test must fail for it. `make mutation` runs the unit tests and the explorer's scenarios that
reach each mutant (CONTRIBUTING.md). `make mutation-table` writes this page.

*Killed*: a test fails. *Survived*: the tests that reach the mutant pass; of those that take long, some were left out.
*Unreached*: no test runs the line. *Equivalent*: the mutant behaves as the original, for a reason that
`tests/mutation/equivalents` gives. The score is the killed part of all that were run and are not equivalent. Lines and
branches are those that the unit tests and the explorer run, in percent.

"""
COLUMNS = ("file", "mutants", "killed", "survived", "unreached", "equivalent", "not run", "score", "lines", "branches")


def percent(part, whole):
    return f"{100 * part / whole:.1f}" if whole else ""


def row(name, counts, cover):
    survived = counts[results.SURVIVED] + counts[results.PARTLY]
    run = counts[results.KILLED] + survived + counts[results.UNREACHED]
    return [name, str(sum(counts.values())), str(counts[results.KILLED]), str(survived), str(counts[results.UNREACHED]),
            str(counts["equivalent"]), str(counts[None]), percent(counts[results.KILLED], run),
            percent(*cover[:2]), percent(*cover[2:])]


def rows(mutants, state, equal):
    by_file, total = collections.defaultdict(collections.Counter), collections.Counter()
    for m in mutants:
        by_file[m.file]["equivalent" if m.key in equal else state.of(m)] += 1
    covered = coverage.load()
    for name in sorted(by_file):
        total += by_file[name]
        yield row(name, by_file[name], covered.get(name, [0, 0, 0, 0]))
    whole = [sum(c[i] for c in covered.values()) for i in range(4)] if covered else [0, 0, 0, 0]
    yield row("**all**", total, whole)


def write(mutants, state, equal):
    path = tree.TOP / "docs/mutation.md"
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    lines += ["| " + " | ".join(r) + " |" for r in rows(mutants, state, equal)]
    path.write_text(HEAD + "\n".join(lines) + "\n")
    print(path)

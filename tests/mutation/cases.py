# SPDX-License-Identifier: MIT
"""The tests, the sites that each one reaches, and its time. Recorded once for each build."""
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile

import process
import schemata
import tree

FACTOR = 6       # a test may take this many times its usual time
SHORTEST = 2     # seconds that every test gets


class Case:
    """One cmocka test, or one scenario of the explorer."""

    def __init__(self, program, test, seconds=0.0, sites=()):
        self.program, self.test, self.seconds, self.sites = program, test, seconds, list(sites)
        self.name = f"{program} {test}"
        self.is_scenario = program == "explore"

    def command(self):
        if self.is_scenario:
            return ["build/explore/explore", self.test]
        return [f"build/unit/{self.program}"]

    def run(self, variables, limit=None, output=False):
        if not self.is_scenario:
            variables = dict(variables, VELLUM_TEST=self.test)
        return process.run(self.command(), tree.SRC, variables,
                           limit or max(SHORTEST, FACTOR * self.seconds), output)


def scenarios():
    out = subprocess.run(["build/explore/explore", "list"], cwd=tree.SRC, capture_output=True, text=True, check=True)
    return [Case("explore", name) for name in out.stdout.split()]


def tests_of(program):
    """The names of a program's tests: those of a run with TAP output."""
    with tempfile.NamedTemporaryFile() as file:
        result = process.run([f"build/unit/{program}"], tree.SRC, {}, process.LONGEST, file.name)
    if result.status:
        print(f"{program}: {result.word()} without a mutant", file=sys.stderr)
    return [Case(program, name) for name in re.findall(r"^ok \d+ - (.+)$", result.output, re.M)]


def record(case, size):
    """Run the case and note the sites that it reaches. False: it does not pass."""
    with tempfile.NamedTemporaryFile(dir=tree.OUT) as file:
        os.truncate(file.name, size)
        result = case.run({"VELLUM_REACHED": file.name}, process.LONGEST)
        reached = file.read()
    case.seconds = result.seconds
    case.sites = [m.start() for m in re.finditer(b"\1", reached)]
    return result.status == 0


def record_all(mutants, jobs):
    size = max(m.number for m in mutants) + schemata.PER_FILE
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        cases = [c for found in pool.map(tests_of, tree.unit_programs()) for c in found] + scenarios()
        good = []
        for i, (case, passed) in enumerate(zip(cases, pool.map(lambda c: record(c, size), cases))):
            if passed:
                good.append(case)
            else:
                print(f"\nleft out, as it fails alone and without a mutant: {case.name}", file=sys.stderr)
            if i % 50 == 0:
                print(f"\rrecording what {len(cases)} tests reach: {i}", end="", file=sys.stderr)
    print(f"\r{len(good)} tests recorded, {sum(c.seconds for c in good):.0f} s of tests      ", file=sys.stderr)
    return good


def load(mutants, digest, jobs):
    """The recorded cases; recorded now if the tree has changed."""
    path = tree.OUT / "coverage.json"
    if path.exists():
        saved = json.loads(path.read_text())
        if saved["tree"] == digest:
            return [Case(*fields) for fields in saved["cases"]]
    cases = record_all(mutants, jobs)
    path.write_text(json.dumps({"tree": digest, "cases": [[c.program, c.test, c.seconds, c.sites] for c in cases]}))
    return cases


def by_site(cases):
    """{site: its cases, the fastest first}"""
    found = collections.defaultdict(list)
    for case in sorted(cases, key=lambda c: c.seconds):
        for site in case.sites:
            found[site].append(case)
    return found

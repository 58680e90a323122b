# SPDX-License-Identifier: MIT
"""Line and branch coverage of the core by the unit tests and the explorer, with gcov."""
import collections
import concurrent.futures
import gzip
import json
import subprocess

import process
import sources
import tree

SRC = tree.OUT / "coverage"
RESULT = tree.OUT / "coverage-lines.json"
FLAGS = ["CC=gcc", "CFLAGS=-O0 --coverage", "LDFLAGS=--coverage"]


def build(jobs):
    tree.copy_tree(SRC, {})
    warnings = "-w -O0 --coverage"
    tree.make(SRC, ["unit-build"], jobs, warnings, FLAGS)
    files = sources.core_files() + ["host/test.c"]
    files += [str(p.relative_to(SRC)) for p in sorted(SRC.glob("tests/explore/*.c"))]
    objects = ["build/explore/obj/" + f[:-2] + ".o" for f in files]
    tree.make(SRC, objects, jobs, warnings, FLAGS)
    subprocess.run(["gcc", "--coverage", *objects, "-lpthread", "-o", "build/explore/explore"], cwd=SRC, check=True)


def run_all(jobs):
    for old in SRC.rglob("*.gcda"):
        old.unlink()
    commands = [[f"build/unit/{p}"] for p in tree.unit_programs(SRC)]
    names = subprocess.run(["build/explore/explore", "list"], cwd=SRC, capture_output=True, text=True).stdout.split()
    commands += [["build/explore/explore", n, "--most", "2000"] for n in names]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for command, result in zip(commands, pool.map(lambda c: process.run(c, SRC, {}, process.LONGEST), commands)):
            if result.status:
                print(f"{' '.join(command)}: {result.word()}")


def collect():
    """{file: {line: {"count": n, "branches": [n...]}}} of all objects together."""
    total = collections.defaultdict(dict)
    wanted = set(sources.core_files()) | set(sources.headers())
    for data in SRC.rglob("*.gcda"):
        if "unit" in data.parts:
            continue
        out = subprocess.run(["gcov", "--json-format", "--branch-probabilities", "--stdout", str(data)], cwd=SRC,
                             capture_output=True).stdout
        report = json.loads(gzip.decompress(out) if out[:2] == b"\x1f\x8b" else out)
        for file in report["files"]:
            name = file["file"].removeprefix("./")
            if name in wanted:
                for line in file["lines"]:
                    merge(total[name], line)
    return total


def merge(lines, line):
    """Builds differ in the code of a line: the one with the most branches taken counts."""
    have = lines.setdefault(line["line_number"], {"count": 0, "branches": []})
    have["count"] += line["count"]
    counts = [b["count"] for b in line["branches"] if not b["throw"]]
    if len(counts) == len(have["branches"]):
        have["branches"] = [a + b for a, b in zip(have["branches"], counts)]
    elif sum(c > 0 for c in counts) > sum(c > 0 for c in have["branches"]) or not have["branches"]:
        have["branches"] = counts


def measure(jobs):
    build(jobs)
    run_all(jobs)
    percent = {}
    for name, lines in collect().items():
        branches = [b for line in lines.values() for b in line["branches"]]
        percent[name] = [sum(x["count"] > 0 for x in lines.values()), len(lines),
                         sum(b > 0 for b in branches), len(branches)]
    RESULT.write_text(json.dumps(percent))


def load():
    """{file: [lines run, lines, branches taken, branches]}"""
    return json.loads(RESULT.read_text()) if RESULT.exists() else {}

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""selftest.py [EXPECTED]: the mutants of tiny.c are those of the list, all compile, and the listed ones are killed.

selftest.py --print writes the list that would be right now. main() tests the others, so its mutants are left out.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import schemata    # noqa: E402

TIMEOUT = 5


def build(folder, mutated):
    """The program with all mutants, made as the runner's build does it."""
    source = folder / "mutated.c"
    source.write_text(mutated, encoding="latin-1")
    top = HERE.parents[2]
    subprocess.run(["gcc", "-std=c11", "-O1", "-w", f"-I{top}", "-include", "tests/mutation/runtime.h", str(source),
                    str(HERE.parent / "runtime.c"), "-o", str(folder / "tiny")], check=True)
    return folder / "tiny"


def status(program, number, **more):
    try:
        return subprocess.run([program], env={"VELLUM_MUTANT": str(number), **more}, timeout=TIMEOUT).returncode
    except subprocess.TimeoutExpired:
        return None


def reached(program, folder, size):
    record = folder / "reached"
    record.write_bytes(bytes(size))
    assert status(program, 0, VELLUM_REACHED=str(record)) == 0, "tiny.c fails without a mutant"
    return {i for i, byte in enumerate(record.read_bytes()) if byte}


def found():
    os.chdir(HERE)
    mutants, mutated = schemata.generate(["tiny.c"], ["tiny.c"], HERE)
    mutants = [m for m in mutants if m.function != "main"]
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        program = build(folder, mutated["tiny.c"])
        sites = reached(program, folder, 2 * schemata.PER_FILE)
        for m in mutants:
            result = "killed" if status(program, m.number) != 0 else "survived" if m.site in sites else "unreached"
            lines.append(f"{m.line}\t{m.function}\t{m.kind}\t{m.original} => {m.shown()}\t{result}\n")
    return lines


def main():
    expected = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "tiny.expected").resolve()
    lines = found()
    if sys.argv[1:] == ["--print"]:
        sys.stdout.writelines(lines)
        return 0
    want = [line for line in expected.read_text().splitlines(True) if not line.startswith("#")]
    wrong = [f"missing: {line}" for line in want if line not in lines]
    wrong += [f"not expected: {line}" for line in lines if line not in want]
    sys.stdout.writelines(wrong)
    print(f"{len(lines)} mutants")
    return 1 if wrong or len(lines) != len(want) else 0


if __name__ == "__main__":
    sys.exit(main())

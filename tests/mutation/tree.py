# SPDX-License-Identifier: MIT
"""The mutated copy of the tree, and its build by the project's own Makefile."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

import schemata
import sources

TOP = sources.TOP
OUT = TOP / "build/mutation"
SRC = OUT / "src"
COPIED = ("abi", "arch", "bench", "cli", "examples", "host", "include", "lib", "machine", "mm", "proc", "tests",
          "Makefile", "sources.mk", "libvellum.map")
FLAGS = ["CC=gcc", "CFLAGS=-O1", "DEFINES=-DVELLUM_ASSERT_LOCKS"]


LISTS = ("tests/mutation/equivalents", "tests/mutation/survivors")


def copied_files():
    """All but the lists of mutants, which no build reads."""
    for name in COPIED:
        path = TOP / name
        for p in [path] if path.is_file() else sorted(path.rglob("*")):
            if p.is_file() and "__pycache__" not in p.parts and str(p.relative_to(TOP)) not in LISTS:
                yield str(p.relative_to(TOP))


def tested_files():
    """What decides, as it is in the mutated copy, which test reaches which mutant."""
    folders = ("arch/", "host/", "include/", "lib/", "machine/soft", "mm/", "proc/", "tests/unit/", "tests/explore/")
    return [f for f in copied_files() if f.startswith(folders)]


def write_if_changed(path, data):
    if path.exists() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def copy_tree(to, replaced):
    """Copy the tree. Only files that differ are written, so that make rebuilds what depends on them."""
    kept = set()
    for name in copied_files():
        data = replaced[name] if name in replaced else (TOP / name).read_bytes()
        write_if_changed(to / name, data)
        if os.access(TOP / name, os.X_OK):
            (to / name).chmod(0o755)
        kept.add(name)
    for name in COPIED:
        if (to / name).is_dir():
            for p in [p for p in (to / name).rglob("*") if p.is_file()]:
                if str(p.relative_to(to)) not in kept:
                    p.unlink()


def digest(names, top=TOP):
    """A hash of files' names and bytes."""
    total = hashlib.sha1()
    for name in sorted(names):
        total.update(name.encode() + b"\0" + hashlib.sha1((top / name).read_bytes()).digest())
    return total.hexdigest()[:16]


def with_runtime(sources_mk):
    """sources.mk, in which the runtime belongs to the core."""
    before = b"VELLUM_HOST_SRC :="
    return sources_mk.replace(before, b"VELLUM_CORE_SRC += tests/mutation/runtime.c\n" + before, 1)


def generate():
    """The mutants of the core as it is now. Also brings the mutated copy up to date."""
    files = sources.core_files()
    paths = files + sources.headers()
    now = digest(list(copied_files()))
    stamp, listing = OUT / "generated", OUT / "mutants.json"
    if not (listing.exists() and stamp.exists() and stamp.read_text() == now):
        OUT.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        os.chdir(TOP)
        mutants, mutated = schemata.generate(files, paths)
        replaced = {p: text.encode("latin-1") for p, text in mutated.items()}
        replaced["sources.mk"] = with_runtime((TOP / "sources.mk").read_bytes())
        copy_tree(SRC, replaced)
        schemata.save(mutants, listing)
        stamp.write_text(now)
    return schemata.load(listing), digest(tested_files(), SRC)


def make(folder, targets, jobs, warnings, flags):
    log = OUT / "build.log"
    with open(log, "w") as out:
        status = subprocess.run(["make", "-C", folder, f"-j{jobs}", f"WARNINGS={warnings}", *flags, *targets],
                                stdout=out, stderr=subprocess.STDOUT, env=clean_environment()).returncode
    if status:
        sys.exit(f"{folder} does not build; the errors are in {log}")


def clean_environment():
    """Without what a make above would hand down."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "VELLUM_"))}


def build(jobs):
    make(SRC, ["unit-build", "build/explore/explore"], jobs, "-w -O1 -include tests/mutation/runtime.h", FLAGS)


def remove(path):
    shutil.rmtree(path, ignore_errors=True)


def unit_programs(folder=SRC):
    return sorted(pathlib.Path(p).stem for p in folder.glob("tests/unit/*/test_*.c"))

# SPDX-License-Identifier: MIT
"""Results that outlive a run, and the lists of mutants that are known.

build/mutation/state has one line for each result, and the last one of a mutant counts. A result is of one version of
the mutant's function: after a change of the function it is void. Results of unchanged functions stay valid.
"""
import threading

import tree

STATE = tree.OUT / "state"
EQUIVALENTS = tree.TOP / "tests/mutation/equivalents"
SURVIVORS = tree.TOP / "tests/mutation/survivors"
KILLED, SURVIVED, PARTLY, UNREACHED = "killed", "survived", "partly", "unreached"


class State:
    """result, by: killed by that test; survived all tests; survived partly: some were left out; unreached by any."""

    def __init__(self, mutants):
        self.lock = threading.Lock()
        self.results = {}
        bodies = {m.key: m.body for m in mutants}
        if STATE.exists():
            for line in STATE.read_text(encoding="latin-1").splitlines():
                fields = line.split("\t")
                key = tuple(fields[:5])
                if len(fields) == 9 and bodies.get(key) == fields[5]:
                    self.results[key] = (fields[6], fields[7])
        self.file = None

    def add(self, mutant, result, by, seconds):
        line = "\t".join([*mutant.key, mutant.body, result, by, f"{seconds:.1f}"])
        with self.lock:
            if self.file is None:
                self.file = open(STATE, "a", encoding="latin-1")
            self.results[mutant.key] = (result, by)
            self.file.write(line + "\n")
            self.file.flush()

    def of(self, mutant):
        """killed, survived, partly, unreached, or None: not run."""
        return self.results.get(mutant.key, (None, ""))[0]


def read_list(path, fields):
    """{key: the rest of the line} of a list of mutants."""
    found = {}
    if path.exists():
        for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), 1):
            if line and not line.startswith("#"):
                parts = line.split("\t")
                if len(parts) != fields or not all(parts):
                    raise SystemExit(f"{path}:{number}: a line has {fields} fields, separated by tabs")
                found[tuple(parts[:5])] = parts[5:]
    return found


def equivalents(mutants):
    """{key: [reason]}. An entry that matches no mutant is an error."""
    found = read_list(EQUIVALENTS, 6)
    keys = {m.key for m in mutants}
    stale = [key for key in found if key not in keys]
    for key in stale:
        print(f"{EQUIVALENTS}: matches no mutant; remove or correct it: " + " | ".join(key))
    if stale:
        raise SystemExit(1)
    return found


def survivors():
    """The identities of the mutants that are known to survive."""
    lines = SURVIVORS.read_text().splitlines() if SURVIVORS.exists() else []
    return {line.split("\t")[0] for line in lines if line and not line.startswith("#")}


def save_survivors(mutants, state, equal):
    """Replace the list of mutants that are known to survive. Those without a result keep their line."""
    known = survivors()
    keep = [m for m in mutants if m.key not in equal and
            (state.of(m) not in (KILLED, None) or (state.of(m) is None and m.identity() in known))]
    head = "".join(line + "\n" for line in SURVIVORS.read_text().splitlines() if line.startswith("#"))
    SURVIVORS.write_text(head + "".join(f"{m.identity()}\t{m.file}\t{m.function}\t{m.kind}\n" for m in keep))
    print(f"{SURVIVORS}: {len(keep)} mutants")

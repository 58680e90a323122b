# SPDX-License-Identifier: MIT
"""Run the tests that reach each mutant, until one fails."""
import collections
import concurrent.futures
import sys
import threading
import time

import state as results


class Runner:
    def __init__(self, cases, state, options):
        self.cases, self.state, self.options = cases, state, options
        self.kills = collections.Counter()    # (function, case): mutants of the function that the case killed
        self.lock = threading.Lock()
        self.done = collections.Counter()
        self.start = time.monotonic()
        self.shown = 0.0
        self.stopped = False

    def plan(self, mutant):
        """The cases to run, and the number of those that are left out.

        The cases may take --seconds together, by their usual times. The fastest come first, but a case that killed
        other mutants of this function counts as faster.
        """
        cases, budget = [], float("inf") if self.options.full else self.options.seconds
        for case in self.cases[mutant.site]:
            budget -= case.seconds
            if budget < 0:
                break
            cases.append(case)
        left_out = len(self.cases[mutant.site]) - len(cases)
        where = (mutant.file, mutant.function)
        with self.lock:
            order = {c.name: c.seconds / (1 + 4 * self.kills[where, c.name]) for c in cases}
        return sorted(cases, key=lambda c: order[c.name]), left_out

    def one(self, mutant):
        if self.stopped:
            return
        start = time.monotonic()
        cases, left_out = self.plan(mutant)
        result, by = self.judge(mutant, cases, left_out)
        if self.stopped:
            return
        self.state.add(mutant, result, by, time.monotonic() - start)
        with self.lock:
            self.done[result] += 1
            self.progress()

    def judge(self, mutant, cases, left_out):
        if not cases and not left_out:
            return results.UNREACHED, "no test"
        for case in cases:
            if self.stopped:
                return results.PARTLY, "stopped"
            outcome = case.run({"VELLUM_MUTANT": str(mutant.number)})
            if outcome.word() != "passed":
                with self.lock:
                    self.kills[(mutant.file, mutant.function), case.name] += 1
                return results.KILLED, f"{case.name}: {outcome.word()}"
        if left_out:
            return results.PARTLY, f"{len(cases)} tests; {left_out} left out"
        return results.SURVIVED, f"{len(cases)} tests"

    def progress(self, last=False):
        now, done = time.monotonic(), sum(self.done.values())
        if not last and now - self.shown < (1 if sys.stderr.isatty() else 30):
            return
        self.shown = now
        rate = done / max(now - self.start, 0.1)
        left = (self.total - done) / max(rate, 1e-6)
        words = ", ".join(f"{n} {word}" for word, n in sorted(self.done.items()))
        print(f"{done} of {self.total} mutants: {words}; {60 * rate:.0f} a minute, {int(left // 3600)} h "
              f"{int(left % 3600 // 60)} min left", end="\r" if sys.stderr.isatty() and not last else "\n",
              file=sys.stderr, flush=True)

    def run(self, mutants):
        self.total = len(mutants)
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            try:
                for finished in [pool.submit(self.one, m) for m in mutants]:
                    finished.result()
            except BaseException:
                self.stopped = True
                pool.shutdown(cancel_futures=True)
                raise
        if mutants:
            self.progress(last=True)

# SPDX-License-Identifier: MIT
"""Run one test in a process group, with limits of time and memory."""
import dataclasses
import os
import resource
import select
import signal
import subprocess
import time

MEMORY_MIB = 6144    # of address space; tests reserve more than they use
LONGEST = 600


@dataclasses.dataclass
class Result:
    status: int       # exit status, negative signal, or None: the time was over
    seconds: float
    output: str = ""

    def word(self):
        if self.status is None:
            return "time"
        return "passed" if self.status == 0 else f"signal {-self.status}" if self.status < 0 else "failed"


def no_core_dumps():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(command, folder, variables, limit, output=False):
    """What is left of the process group is killed when the process ends or its time is over."""
    env = dict(os.environ, **variables, VELLUM_MEMORY=str(MEMORY_MIB), CMOCKA_MESSAGE_OUTPUT="TAP")
    start = time.monotonic()
    to = open(output, "w+") if output else subprocess.DEVNULL
    child = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=to,
                             stderr=subprocess.STDOUT if output else subprocess.DEVNULL, start_new_session=True)
    pidfd = os.pidfd_open(child.pid)
    try:
        ended = bool(select.select([pidfd], [], [], limit)[0])
        seconds = time.monotonic() - start
        try:
            os.killpg(child.pid, signal.SIGKILL)    # not reaped yet, so the number is still that of this group
        except ProcessLookupError:
            pass
        status = child.wait()
    finally:
        os.close(pidfd)
    text = ""
    if output:
        to.seek(0)
        text = to.read()
        to.close()
    return Result(status if ended else None, seconds, text)

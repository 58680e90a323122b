# SPDX-License-Identifier: MIT
"""Drive a shell on a pseudoterminal and print what the terminal shows, without what differs from run to run.

usage: terminal.py SCENARIO COMMAND...

COMMAND is the shell of the scenario. Each step waits until the terminal shows a text, and then types an answer.
"""
import os
import pty
import re
import select
import sys
import time

SECONDS = 30
PROMPT = r"\$ $"
RUNNING = r"running\r\n$"
LOOP = "$JOB"
# Vellum ends with a status where a program is killed by a signal, and shells print that in another way.
ENDS = "$JOB 5"
STOPPED = 'while [ -z "$(jobs -s)" ]; do sleep 0.1; done'
CONTINUED = r"continued\r\n$"

SCENARIOS = {
    # A shell with jobs.
    "shell": [
        (PROMPT, LOOP + "\n"), (RUNNING, "\x1a"), (PROMPT, "jobs\n"), (PROMPT, "fg\n"), (CONTINUED, "\x03"),
        (PROMPT, "echo $?\n"),
        (PROMPT, "cat\n"), (r"cat\r\n$", "now\n"), (r"now\r\nnow\r\n$", "\x1c"), (PROMPT, "echo $?\n"),
        (PROMPT, "cat | cat\n"), (r"cat\r\n$", "a line\n"), (r"a line\r\na line\r\n$", "\x1a"), (PROMPT, "fg\n"),
        (r"cat \| cat\r\n$", "another\n"), (r"another\r\nanother\r\n$", "\x04"), (PROMPT, "echo $?\n"),
        (PROMPT, "cat & " + STOPPED + "\n"), (PROMPT, "fg\n"), (r"cat\r\n$", "read\n"),
        (r"read\r\nread\r\n$", "\x04"), (PROMPT, "stty tostop\n"), (PROMPT, "echo late & " + STOPPED + "\n"),
        (PROMPT, "fg\n"), (PROMPT, "stty -tostop\n"), (PROMPT, "\x03"), (PROMPT, "\x1a"),
        (r"\^Z$", "\n"), (PROMPT, "exit 3\n"),
    ],
    # A program below the shell; the function "run" of the shell runs it natively or inside.
    "job": [
        (PROMPT, "run " + ENDS + "\n"), (RUNNING, "\x1a"), (PROMPT, "jobs\n"), (PROMPT, "fg\n"),
        (CONTINUED, "\x03"), (PROMPT, "echo $?\n"), (PROMPT, "run cat\n"),
        (r"run cat\r\n$", "line\n"), (r"line\r\nline\r\n$", "\x1a"), (PROMPT, "bg; " + STOPPED + "\n"),
        (PROMPT, "fg\n"), (r'\$@"\r\n$', "more\n"), (r"more\r\nmore\r\n$", "\x04"), (PROMPT, "echo $?\n"),
        (PROMPT, "exit 4\n"),
    ],
    # A shell on a pseudoterminal that a program inside has opened.
    "nested": [
        (PROMPT, LOOP + "\n"), (RUNNING, "\x1a"), (PROMPT, "jobs\n"), (PROMPT, "fg\n"), (CONTINUED, "\x03"),
        (PROMPT, "echo $?; echo tty >/dev/tty\n"), (PROMPT, "cat & " + STOPPED + "\n"),
        (PROMPT, "fg\n"), (r"cat\r\n$", "\x04"), (PROMPT, "exit 5\n"),
    ],
}


class Terminal:
    def __init__(self, command):
        self.seen = ""
        self.at = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)

    def read(self, deadline):
        """False: the other end is closed."""
        if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
            self.give_up("nothing more comes")
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            data = b""
        self.seen += data.decode(errors="replace")
        return bool(data)

    def give_up(self, why):
        os.kill(self.pid, 9)
        sys.exit(f"{self.seen}\n{why}")

    def wait_for(self, text):
        deadline = time.monotonic() + SECONDS
        while not re.search(text, self.seen[self.at:], re.S):
            if not self.read(deadline):
                self.give_up(f"the end, before {text!r}")
        self.at = len(self.seen)

    def finish(self):
        deadline = time.monotonic() + SECONDS
        while self.read(deadline):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def main():
    terminal = Terminal(sys.argv[2:])
    for text, answer in SCENARIOS[sys.argv[1]]:
        terminal.wait_for(text)
        os.write(terminal.fd, answer.encode())
    status = terminal.finish()
    print(re.sub(r"(?m)^(\[\d+\]) \d+$", r"\1 PID", terminal.seen.replace("\r", "")))
    print(f"status {status}")


main()

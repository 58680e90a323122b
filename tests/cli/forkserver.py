#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""afl-fuzz's side of its fork server: run inputs with `vellum fuzz`, and print how each run ended.

forkserver.py [-t SECONDS] [-n RUNS] [-f FILE] [-m yes] INPUT... -- COMMAND...: each INPUT is a run's standard input, or
with -f the content of FILE. -s yes: the program takes inputs from shared memory, if it wants to. -n: go through the inputs until so many runs are made, and print runs per second instead. -m:
print the map of edges of each run, too: index=count.
"""
import ctypes
import os
import select
import signal
import struct
import sys
import tempfile
import time

TIMED_OUT = "timed out"
MAP_SIZE = 65536


class Map:
    """A System V segment, as afl-fuzz makes it."""

    def __init__(self, variable):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.shmat.restype = ctypes.c_void_p
        self.id = self.libc.shmget(0, MAP_SIZE, 0o1600)
        self.address = self.libc.shmat(self.id, None, 0)
        self.bytes = (ctypes.c_ubyte * MAP_SIZE).from_address(self.address)
        self.libc.shmctl(self.id, 0, None)      # removed with its last user
        os.environ[variable] = str(self.id)

    def end(self):
        self.libc.shmdt(ctypes.c_void_p(self.address))

    def put(self, data):
        ctypes.memmove(self.bytes, struct.pack("I", len(data)) + data, 4 + len(data))

    def take(self):
        edges = " ".join("%d=%d" % (i, n) for i, n in enumerate(bytes(self.bytes)) if n)
        ctypes.memset(self.bytes, 0, MAP_SIZE)
        return edges


class Server:
    def __init__(self, command, stdin, environment=None):
        command_read, self.command = os.pipe()
        self.answer, answer_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.dup2(stdin, 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(command_read, 198)
            os.dup2(answer_write, 199)
            os.closerange(200, 300)
            os.execvpe(command[0], command, environment or os.environ)
        os.close(command_read)
        os.close(answer_write)
        self.timed_out = 0
        self.hello = self.word(20)
        self.shares_input = self.hello & 0x81000000 == 0x81000000 and "__AFL_SHM_FUZZ_ID" in os.environ
        if self.hello & 0x81000000 == 0x81000000:
            os.write(self.command, struct.pack("I", 0x81000000 if self.shares_input else 0x80000000))

    def word(self, timeout):
        if not select.select([self.answer], [], [], timeout)[0]:
            return None
        data = os.read(self.answer, 4)
        if len(data) != 4:
            sys.exit("the server has ended: %x" % os.waitpid(self.pid, 0)[1])
        return struct.unpack("I", data)[0]

    def run(self, timeout):
        os.write(self.command, struct.pack("I", self.timed_out))
        pid = self.word(20)
        status = self.word(timeout)
        self.timed_out = 0
        if status is None:
            self.timed_out = 1
            os.kill(pid, signal.SIGKILL)
            if self.word(20) is None:
                sys.exit("the run does not end")
            return TIMED_OUT
        return "signal %d" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else "status %d" % os.WEXITSTATUS(status)

    def end(self):
        os.close(self.command)
        os.close(self.answer)
        os.waitpid(self.pid, 0)


def main():
    args, timeout, runs, path, edges, shared = sys.argv[1:], 5.0, 0, None, None, None
    while args and args[0] in ("-t", "-n", "-f", "-m", "-s"):
        value = args[1]
        if args[0] == "-t":
            timeout = float(value)
        elif args[0] == "-n":
            runs = int(value)
        elif args[0] == "-m":
            edges = Map("__AFL_SHM_ID")
        elif args[0] == "-s":
            shared = Map("__AFL_SHM_FUZZ_ID")
        else:
            path = value
        args = args[2:]
    split = args.index("--")
    inputs, command = args[:split], args[split + 1:]
    file = open(path, "w+b") if path else tempfile.TemporaryFile()
    file.write(b"first")
    file.flush()
    server = Server(command, os.open("/dev/null", os.O_RDONLY) if path else file.fileno())
    print("hello %x" % server.hello, flush=True)
    start = time.monotonic()
    for i in range(runs or len(inputs)):
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        data = inputs[i % len(inputs)].encode()
        if server.shares_input:
            shared.put(data)
            data = b"not this"
        os.write(file.fileno(), data)
        os.ftruncate(file.fileno(), len(data))
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        end = server.run(timeout)
        if not runs:
            print(*([end, edges.take()] if edges else [end]), flush=True)
    if runs:
        print("%.0f runs/s" % (runs / (time.monotonic() - start)))
    server.end()


if __name__ == "__main__":
    main()

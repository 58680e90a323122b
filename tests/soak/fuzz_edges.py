#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fuzz_edges.py INPUTS|FOLDER SERVERS COMMAND...: are the edges of an input those that a new server finds?

Runs INPUTS random inputs, or the files in FOLDER, in one server, and SERVERS of them in a new server each, where no page is
kept from a run before. Inputs are standard input, or the file "@@". Prints the inputs whose maps differ.
"""
import os
import random
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
import forkserver


class Fuzzed:
    def __init__(self, command):
        self.map = forkserver.Map("__AFL_SHM_ID")
        self.file = tempfile.NamedTemporaryFile()
        self.file.write(b"first")
        self.file.flush()
        command = [self.file.name if word == "@@" else word for word in command]
        self.server = forkserver.Server(command, self.file.fileno())

    def edges(self, data):
        fd = self.file.fileno()
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, data)
        os.ftruncate(fd, len(data))
        os.lseek(fd, 0, os.SEEK_SET)
        return self.server.run(20), self.map.take()

    def end(self):
        self.server.end()
        self.map.end()
        self.file.close()


def main():
    source, servers, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    choose = random.Random(1)
    if os.path.isdir(source):
        inputs = [open(entry.path, "rb").read() for entry in os.scandir(source) if entry.is_file()]
    else:
        inputs = [bytes(choose.randrange(256) for _ in range(choose.randrange(1, 64))) for _ in range(int(source))]
    one = Fuzzed(command)
    maps = [one.edges(data) for data in inputs]
    one.end()
    for i in choose.sample(range(len(inputs)), min(servers, len(inputs))):
        fresh = Fuzzed(command)
        found = fresh.edges(inputs[i])
        if found != maps[i]:
            print("input %s: %s in one server, %s in a new one" % (inputs[i].hex(), maps[i], found))
        fresh.end()


main()

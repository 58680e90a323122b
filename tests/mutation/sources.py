# SPDX-License-Identifier: MIT
"""The files that are mutated, as text. Offsets are those of bytes, so text is read as Latin-1."""
import bisect
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("mm/", "lib/", "arch/", "machine/soft", "include/vellum/")


def core_files(top=TOP):
    """The .c files of the core and of the software machine, from sources.mk."""
    rule = "print: ; @echo $(VELLUM_CORE_SRC) $(VELLUM_SOFT_SRC)"
    out = subprocess.run(["make", "-s", "-f", "sources.mk", "--eval", rule, "print"],
                         cwd=top, check=True, capture_output=True, text=True)
    return out.stdout.split()


def headers(top=TOP):
    found = []
    for folder in ("mm", "lib", "arch", "machine", "include/vellum"):
        found += [str(p.relative_to(top)) for p in (top / folder).rglob("*.h")]
    return sorted(p for p in found if p.startswith(FOLDERS))


class Source:
    """A file whose macros that define functions are unfolded into ordinary functions."""

    def __init__(self, path, top=TOP):
        self.path = path
        original = (top / path).read_text(encoding="latin-1")
        self.segments = [(0, 1)]    # offset where lines begin to count from this original line
        self.text = self.unfold(original)
        self.unfolded = self.text != original

    def line(self, offset):
        """The line of the original file."""
        start, line = self.segments[bisect.bisect_right(self.segments, (offset, 1 << 60)) - 1]
        return line + self.text.count("\n", start, offset)

    def unfold(self, text):
        macros = {m[1]: m for m in re.finditer(
            r"^#define (\w+)\(([\w, ]+)\)((?:[^\n]*\\\n)+[^\n]*)\n", text, re.M)
            if re.search(r"\bstatic inline\b", m[3])}
        out, at = "", 0
        for use in re.finditer(r"^([A-Z]\w+)\(([^()\n]*)\)$", text, re.M):
            if use[1] not in macros:
                continue
            macro = macros[use[1]]
            names = [n.strip() for n in macro[2].split(",")]
            values = dict(zip(names, (v.strip() for v in use[2].split(","))))
            body = re.sub(r" *\\$", "", macro[3], flags=re.M)
            body = re.sub(r"\w+", lambda w: values.get(w[0], w[0]), body).replace("##", "")
            out += text[at:use.start()]
            out += self.mark(len(out), text.count("\n", 0, macro.start(3)) + 1) + body + "\n"
            at = use.end() + 1
            out += self.mark(len(out), text.count("\n", 0, at) + 1)
        return out + text[at:]

    def mark(self, offset, line):
        directive = f'#line {line} "{self.path}"\n'
        self.segments.append((offset + len(directive), line))
        return directive

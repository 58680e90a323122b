# SPDX-License-Identifier: MIT
"""All mutants in one build: each site asks at run time which mutant is active."""
import collections
import hashlib
import json
import pathlib

import kinds
import sources
import syntax

PER_FILE = 4096    # numbers of a file's mutants begin at a multiple of this, so a change elsewhere leaves them alone


class Mutant:
    """One way to break the code. `key` is stable: it does not depend on lines."""
    FIELDS = ("number", "site", "file", "function", "kind", "original", "mutated", "ordinal", "line", "body")

    def __init__(self, **fields):
        for name in self.FIELDS:
            setattr(self, name, fields[name])
        self.key = (self.file, self.function, self.kind, f"{self.original} => {self.shown()}", str(self.ordinal))

    def identity(self):
        """The key, short."""
        return hashlib.sha1("\t".join(self.key).encode("latin-1")).hexdigest()[:12]

    def shown(self):
        return self.mutated or "(left out)"

    def describe(self):
        return f"{self.file}:{self.line}: {self.function}: {self.kind}: {self.original} => {self.shown()}"

    def fields(self):
        return {name: getattr(self, name) for name in self.FIELDS}


def number_sites(functions, base):
    """Give the sites of one file numbers, and list their mutants."""
    mutants, number = [], base
    for f, sites in functions:
        body = hashlib.sha1(syntax.plain(f.text[f.start:f.end]).encode()).hexdigest()[:12]
        ordinals = collections.Counter()
        for site in sites:
            site.first = number
            original = syntax.plain(f.text[site.start:site.end])
            for kind, mutated in site.mutants:
                same = (kind, original, mutated)
                ordinals[same] += 1
                mutants.append(Mutant(number=number, site=site.first, file=f.path, function=f.name, kind=kind,
                                      original=original, mutated=mutated, ordinal=ordinals[same],
                                      line=f.source.line(site.start), body=body))
                number += 1
    if number > base + PER_FILE:
        raise SystemExit(f"{functions[0][0].path}: more than {PER_FILE} mutants; raise PER_FILE in schemata.py")
    return mutants


def render_site(site, inner):
    """The text of a site. @inner: its original text, in which the sites below have been rendered."""
    first, nr = site.first, len(site.mutants)
    active = f"VELLUM_MUTANT_IN({first}, {nr})"
    if site.form == "point":
        return f" if ({active}) {site.mutants[0][1]}"
    choices = [(first + i, text) for i, (_, text) in enumerate(site.mutants)]
    if site.form == "statement":
        chosen = " else ".join(f"if (vellum_mutant == {n}) {{ {text} }}" for n, text in choices if text)
        return f"{{ if ({active}) {{ {chosen} }} else {{ {inner} }} }}"
    truth = "!!" if site.form == "condition" else ""
    chosen = f"{truth}({choices[-1][1]})"
    for n, text in reversed(choices[:-1]):
        chosen = f"vellum_mutant == {n} ? {truth}({text}) : {chosen}"
    return f"({active} ? ({chosen}) : {truth}({inner}))"


def render(text, sites):
    """The text with all sites. They are nested or apart; one that crosses another is an error of kinds.py."""
    sites = sorted(sites, key=lambda s: (s.start, -s.end, s.form != "point"))

    def part(start, end, i):
        out, at = [], start
        while i < len(sites) and sites[i].start < end:
            site = sites[i]
            if site.end > end:
                raise SystemExit(f"sites cross: {text[site.start:site.end]!r}")
            out.append(text[at:site.start])
            inner, i = part(site.start, site.end, i + 1)
            out.append(render_site(site, inner))
            at = site.end
        out.append(text[at:end])
        return "".join(out), i

    return part(0, len(text), 0)[0]


def collect(files, paths, top=sources.TOP):
    """{path: [(function, sites)]} of the .c files @files and of those headers that are in @paths."""
    texts = {p: sources.Source(p, top) for p in paths}
    found, seen = {}, set()
    for file in files:
        for f in syntax.functions(file, texts, seen):
            sites = sorted(kinds.Mutator(f).sites.values(), key=lambda s: (s.start, -s.end))
            if sites:
                found.setdefault(f.path, []).append((f, sites))
    return texts, found


def generate(files, paths, top=sources.TOP):
    """The mutants, and the text of each file with all of them."""
    texts, found = collect(files, paths, top)
    mutants, mutated = [], {}
    for i, path in enumerate(sorted(texts)):
        functions = sorted(found.get(path, []), key=lambda pair: pair[0].start)
        if functions:
            mutants += number_sites(functions, (i + 1) * PER_FILE)
            mutated[path] = render(texts[path].text, [s for _, sites in functions for s in sites])
    return mutants, mutated


def save(mutants, path):
    pathlib.Path(path).write_text(json.dumps([m.fields() for m in mutants]))


def load(path):
    return [Mutant(**fields) for fields in json.loads(pathlib.Path(path).read_text())]

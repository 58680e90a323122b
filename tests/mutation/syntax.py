# SPDX-License-Identifier: MIT
"""The syntax trees of clang: the functions of a file, and where their nodes stand in the text."""
import ctypes
import re

import clang.cindex as cindex
from clang.cindex import CursorKind

ARGUMENTS = ["-std=c11", "-ffreestanding", "-I.", "-Iinclude", "-w"]

# A condition in these macros is an assertion: if it is changed, the code behaves the same.
ASSERTIONS = {"assert_locked", "host_bug_on", "host_bug", "_Static_assert", "offsetof", "container_of", "ARRAY_SIZE"}


def _file_location(location):
    """File and offset of a location. In an argument of a macro: where the argument was written."""
    file, offset = cindex.c_object_p(), ctypes.c_uint()
    line, column = ctypes.c_uint(), ctypes.c_uint()
    cindex.conf.lib.clang_getFileLocation(location, ctypes.byref(file), ctypes.byref(line), ctypes.byref(column),
                                          ctypes.byref(offset))
    return (cindex.File(file).name if file else None), offset.value


def span(cursor, path, macros=()):
    """(start, end) of the node in the file @path, or None. @macros: {start: end} of the uses of macros."""
    extent = cursor.extent
    file, start = _file_location(extent.start)
    _, end = _file_location(extent.end)
    if end in macros:    # clang: a node that ends with a macro within an argument ends where the macro begins
        end = macros[end]
    if file is None or normal(file) != path or end <= start:
        return None
    return start, end


def normal(path):
    return path[2:] if path.startswith("./") else path


class Function:
    def __init__(self, cursor, source, uses, closed):
        self.cursor = cursor
        self.source = source
        self.path = source.path
        self.text = source.text
        self.name = cursor.spelling
        self.start, self.end = span(cursor, source.path)
        self.uses = {u for u in uses if self.start <= u[0] < self.end}
        self.ends = dict(sorted(self.uses))    # the longest of those that begin together
        self.closed = [u for u in closed if self.start <= u[0] < self.end]
        self.body = [c for c in cursor.get_children() if c.kind == CursorKind.COMPOUND_STMT][0]
        self.result = cursor.result_type.get_canonical().kind

    def span(self, cursor):
        return span(cursor, self.path, self.ends)

    def in_closed_macro(self, start, end):
        """Whether the text is an argument of a macro whose arguments are no ordinary expressions."""
        return any(a < start and end < b for a, b in self.closed)


def _macros(unit, path):
    """Extents of all uses of macros; and of uses of assertions and of macros that make strings of their arguments."""
    uses, closed, definitions = [], [], {}
    for c in unit.cursor.get_children():
        if c.kind == CursorKind.MACRO_DEFINITION:
            definitions[c.spelling] = c
        elif c.kind == CursorKind.MACRO_INSTANTIATION:
            at = span(c, path)
            if at:
                uses.append(at)
            if at and (c.spelling in ASSERTIONS or _uses_hash(definitions.get(c.spelling))):
                closed.append(at)
    return uses, closed


def _uses_hash(definition):
    if definition is None or not definition.location.file:
        return False
    return any(t.spelling in ("#", "##") for t in definition.get_tokens())


def functions(path, sources, seen, arguments=ARGUMENTS):
    """The functions that a .c file and its headers define, without those in @seen: (path, offset)."""
    unsaved = [(s.path, s.text) for s in sources.values() if s.unfolded]
    unit = cindex.Index.create().parse(path, args=arguments, unsaved_files=unsaved,
                                       options=cindex.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
    errors = [d for d in unit.diagnostics if d.severity >= cindex.Diagnostic.Error]
    if errors:
        raise SystemExit(f"{path}: clang does not parse it: {errors[0]}")
    macros = {}
    for c in unit.cursor.get_children():
        if c.kind != CursorKind.FUNCTION_DECL or not c.is_definition() or not c.location.file:
            continue
        name = normal(c.location.file.name)
        if name not in sources or (name, c.location.offset) in seen:
            continue
        seen.add((name, c.location.offset))
        if name not in macros:
            macros[name] = _macros(unit, name)
        yield Function(c, sources[name], *macros[name])


def plain(text):
    """The text on one line, without comments."""
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)).strip()


def balanced(text):
    depth = 0
    for ch in re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])*\'|/\*.*?\*/', "", text, flags=re.S):
        depth += (ch in "([{") - (ch in ")]}")
        if depth < 0:
            return False
    return depth == 0

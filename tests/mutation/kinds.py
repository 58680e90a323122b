# SPDX-License-Identifier: MIT
"""The mutants of one function: sites in its text, and what may stand there instead.

A site is an expression, a condition (only its truth matters), a statement, or a point in front of the first
statement. What the text shows to be equal to another mutant, or sure to be found, is left out: an operand of && that
is false makes the whole false; a negated operand fails wherever the true one does; == and != are each other's
negation; a loop without a way out never ends.
"""
import re

from clang.cindex import CursorKind as K
from clang.cindex import StorageClass, TypeKind

from syntax import balanced, plain

COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
BOUNDS = {"<": "-", "<=": "+", ">": "+", ">=": "-"}    # the off-by-one that the other comparison is not
OPERATORS = set(COMPARISONS) | {"&&", "||", "+", "-", "*", "/", "%", "|", "&", "^", "<<", ">>", "=", ","}
COMPOUNDS = {"+=": "-=", "-=": "+=", "|=": "=", "&=": "=", "<<=": None, ">>=": None, "^=": None, "*=": None, "/=": None}

# Calls that change nothing that a program can see, and assertions.
IDLE_CALLS = re.compile(r"^(cpu_relax|sched_point|\w*_assert_\w+|vellum_soft_(memory_)?point|__builtin_prefetch|"
                        r"__atomic_signal_fence)$")
UNEVALUATED = {K.CXX_UNARY_EXPR, K.GENERIC_SELECTION_EXPR, K.StmtExpr}
LITERALS = {K.INTEGER_LITERAL, K.CHARACTER_LITERAL, K.STRING_LITERAL, K.FLOATING_LITERAL}
INTEGERS = {TypeKind.INT, TypeKind.UINT, TypeKind.LONG, TypeKind.ULONG, TypeKind.LONGLONG, TypeKind.ULONGLONG,
            TypeKind.SHORT, TypeKind.USHORT, TypeKind.UCHAR, TypeKind.SCHAR, TypeKind.CHAR_S, TypeKind.CHAR_U}


class Site:
    def __init__(self, form, start, end):
        self.form, self.start, self.end = form, start, end
        self.mutants = []    # (kind, replacement)


def kind_of_type(cursor):
    return cursor.type.get_canonical().kind


def strip(cursor):
    """The node without parentheses and casts that the compiler adds."""
    while cursor.kind in (K.UNEXPOSED_EXPR, K.PAREN_EXPR):
        children = list(cursor.get_children())
        if len(children) != 1:
            break
        cursor = children[0]
    return cursor


class Mutator:
    def __init__(self, function):
        self.f = function
        self.text = function.text
        self.sites = {}
        self.seen = set()
        self.whole = {}    # extent of the use of a macro: the nodes that are all of it
        self.find_macros(function.body)
        self.early_return()
        self.statement(function.body)

    # --- text ---

    def find_macros(self, c):
        at = self.span(c)
        if at in self.f.uses and at not in self.whole:
            self.whole[at] = set()
            while c.kind in (K.UNEXPOSED_EXPR, K.PAREN_EXPR) and len(list(c.get_children())) == 1:
                self.whole[at].add(c.hash)
                c = next(c.get_children())
            self.whole[at].add(c.hash)
        for child in c.get_children():
            self.find_macros(child)

    def is_written(self, c):
        """Whether the node stands in the text. A part of a macro has the extent of the macro's use."""
        at = self.span(c)
        return at is not None and (at not in self.whole or c.hash in self.whole[at])

    def span(self, cursor):
        return self.f.span(cursor)

    def of(self, cursor):
        start, end = self.span(cursor)
        return plain(self.text[start:end])

    def operator(self, left, right):
        """The operator between two operands, if it stands there in the text."""
        a, b = self.span(left), self.span(right)
        if not a or not b or a[1] > b[0]:
            return None
        op = plain(self.text[a[1]:b[0]])
        return op if op in OPERATORS or op in COMPOUNDS else None

    def add(self, form, start, end, kind, replacement):
        text = self.text[start:end]
        if (form != "point" and not text) or not balanced(text) or re.search(r"^[ \t]*#", text, re.M):
            return
        if self.f.in_closed_macro(start, end) or (start, end, kind, replacement) in self.seen:
            return
        self.seen.add((start, end, kind, replacement))
        slot = "expression" if form == "condition" else form
        site = self.sites.setdefault((start, end, slot), Site(form, start, end))
        if form == "condition":
            site.form = form
        site.mutants.append((kind, replacement))

    def add_at(self, form, cursor, kind, replacement):
        at = self.span(cursor)
        if self.is_written(cursor) and kind_of_type(cursor) != TypeKind.VECTOR:
            self.add(form, at[0], at[1], kind, replacement)

    # --- statements ---

    def early_return(self):
        statements = [c for c in self.f.body.get_children() if c.kind != K.DECL_STMT]
        body = self.span(self.f.body)
        if self.f.result == TypeKind.VOID and len(statements) >= 4 and body:
            self.add("point", body[0] + 1, body[0] + 1, "early return", "return;")

    def statement(self, c):
        children = list(c.get_children())
        if c.kind in (K.COMPOUND_STMT,):
            for child in children:
                self.statement(child)
        elif c.kind == K.IF_STMT:
            self.condition(children[0], "if")
            for child in children[1:]:
                self.statement(child)
        elif c.kind == K.WHILE_STMT:
            self.loop(children[0], children[1])
        elif c.kind == K.DO_STMT:
            self.loop(children[1], children[0])
        elif c.kind == K.FOR_STMT:
            self.for_statement(c, children)
        elif c.kind == K.SWITCH_STMT:
            self.expression(children[0])
            self.statement(children[1])
        elif c.kind in (K.CASE_STMT, K.DEFAULT_STMT, K.LABEL_STMT):
            if children:
                self.statement(children[-1])
        elif c.kind == K.RETURN_STMT:
            if children:
                self.returned(children[0])
        elif c.kind == K.DECL_STMT:
            for child in children:
                self.declaration(child)
        elif c.kind not in (K.GOTO_STMT, K.BREAK_STMT, K.CONTINUE_STMT, K.NULL_STMT):
            self.expression_statement(c)

    def loop(self, condition, body):
        self.condition(condition, "loop" if has_exit(body) else "endless")
        self.statement(body)

    def for_statement(self, c, children):
        at = self.span(c)
        if not at:
            return
        first, second = semicolons(self.text, at[0])
        self.statement(children[-1])
        for child in children[:-1]:
            where = self.span(child)
            if not where:
                continue
            if where[0] < first:
                if child.kind == K.DECL_STMT:
                    self.statement(child)
                else:
                    self.expression(child)
            elif where[0] < second:
                self.condition(child, "loop" if has_exit(children[-1]) else "endless")
            else:
                self.expression(child)

    def declaration(self, c):
        if c.kind != K.VAR_DECL or c.storage_class == StorageClass.STATIC:
            return
        name = c.location.offset
        for child in c.get_children():
            at = self.span(child)
            if at and child.kind.is_expression() and "=" in self.text[name:at[0]]:
                self.expression(child)

    def returned(self, e):
        if self.f.result == TypeKind.BOOL:
            self.condition(e, "return")
            return
        inner = strip(e)
        arms = list(inner.get_children())[1:] if inner.kind == K.CONDITIONAL_OPERATOR else [e]
        for arm in arms:
            if self.span(arm) and re.fullmatch(r"\(?-\s*(VELLUM_)?E[A-Z0-9]+\)?", self.of(arm)):
                self.add_at("expression", arm, "error", "0")
        self.expression(e)

    def expression_statement(self, e):
        self.left_out(e)
        self.expression(e)

    def left_out(self, e):
        """Mutants of a whole statement: left out, or with another operator of assignment."""
        at = self.span(e)
        if not self.is_written(e):
            return
        end = re.compile(r"(\s|/\*.*?\*/)*;", re.S).match(self.text, at[1])
        if not end:
            return
        inner = strip(e)
        children = list(inner.get_children())
        if inner.kind == K.COMPOUND_ASSIGNMENT_OPERATOR:
            self.add("statement", at[0], end.end(), "assignment", "")
            op = self.operator(children[0], children[1])
            if op and COMPOUNDS.get(op):
                left, right = self.of(children[0]), self.of(children[1])
                self.add("statement", at[0], end.end(), "operator", f"{left} {COMPOUNDS[op]} {right};")
        elif inner.kind == K.BINARY_OPERATOR:
            if self.operator(children[0], children[1]) == "=" and strip(children[0]).kind != K.DECL_REF_EXPR:
                self.add("statement", at[0], end.end(), "assignment", "")
        elif inner.kind == K.UNARY_OPERATOR and re.search(r"\+\+|--", self.of(inner)):
            self.add("statement", at[0], end.end(), "assignment", "")
        elif is_call(inner, self.text[at[0]:at[1]]):
            name = inner.spelling or re.match(r"\w*", self.text[at[0]:])[0]
            if not IDLE_CALLS.match(name):
                self.add("statement", at[0], end.end(), "call", "")

    # --- expressions ---

    def condition(self, c, where):
        """@where: if, return, loop, endless (a loop whose body does not leave it), and, or (operands)."""
        if self.is_chain(c, where):
            pass    # its operands have these mutants, and its operators those of `logical`
        elif strip(c).kind not in LITERALS and self.span(c):
            text = self.of(c)
            if where in ("if", "return"):
                self.add_at("condition", c, "negated", f"!({text})")
            if where in ("if", "loop", "and"):
                self.add_at("condition", c, "true", "1")
            if where in ("if", "loop", "endless", "or"):
                self.add_at("condition", c, "false", "0")
        elif where == "return" and self.span(c):
            self.add_at("condition", c, "negated", f"!({self.of(c)})")
        self.expression(c, truth=True, negated=where in ("if", "return"))

    def is_chain(self, c, where):
        """Whether the operand of && or || is an operation with the same operator, without parentheses."""
        while c.kind == K.UNEXPOSED_EXPR and len(list(c.get_children())) == 1:
            c = next(c.get_children())
        children = list(c.get_children())
        return (c.kind == K.BINARY_OPERATOR and where in ("and", "or") and
                self.operator(*children[:2]) == {"and": "&&", "or": "||"}[where])

    def expression(self, c, truth=False, negated=False):
        """@truth: only whether it is zero matters. @negated: a mutant negates this very expression."""
        children = list(c.get_children())
        if c.kind in UNEVALUATED or c.kind in LITERALS:
            return
        if c.kind in (K.UNEXPOSED_EXPR, K.PAREN_EXPR) and len(children) == 1:
            self.expression(children[0], truth, negated)
        elif c.kind == K.BINARY_OPERATOR:
            self.binary(c, children[0], children[1], truth, negated)
        elif c.kind == K.CONDITIONAL_OPERATOR:
            self.condition(children[0], "if")
            self.expression(children[1], truth)
            self.expression(children[2], truth)
        elif c.kind == K.UNARY_OPERATOR:
            self.unary(c, children[0], truth)
        elif c.kind == K.CALL_EXPR:
            for child in children:
                self.expression(child, truth=c.spelling == "__builtin_expect" and truth)
        elif c.kind == K.INIT_LIST_EXPR:
            for child in children:
                self.initialiser(child)
        else:
            for child in children:
                if child.kind.is_expression():
                    self.expression(child)

    def initialiser(self, c):
        at = self.span(c)
        if at and c.kind == K.UNEXPOSED_EXPR and self.text[at[0]] in ".[":
            children = [x for x in c.get_children() if x.kind.is_expression()]
            if children:
                self.expression(children[-1])
        elif at and not self.text[at[1]:].lstrip().startswith("]"):
            self.expression(c)

    def unary(self, c, operand, truth):
        at, inner = self.span(c), self.span(operand)
        op = self.text[at[0]:inner[0]].strip() if at and inner and at[0] < inner[0] else ""
        if op == "!" and not truth:
            self.add_at("condition", c, "negated", f"!!({self.of(operand)})")
        self.expression(operand, truth=op == "!")

    def binary(self, c, left, right, truth, negated):
        op = self.operator(left, right) if self.span(c) else None
        if op in ("&&", "||"):
            other = "||" if op == "&&" else "&&"
            self.add_at("condition", c, "logical", f"({self.of(left)}) {other} ({self.of(right)})")
            where = "and" if op == "&&" else "or"
            self.condition(left, where)
            self.condition(right, where)
            return
        if op in COMPARISONS:
            self.comparison(c, op, left, right, negated)
        elif op in ("+", "-"):
            self.arithmetic(c, op, left, right)
        elif op == "|":
            self.alternatives(c)
        elif op == "&":
            self.mask(c, left, right, truth)
        self.expression(left)
        self.expression(right)

    def comparison(self, c, op, left, right, negated):
        a, b = self.of(left), self.of(right)
        if not (negated and op in ("==", "!=")):
            self.add_at("expression", c, "comparison", f"({a}) {COMPARISONS[op]} ({b})")
        if op in BOUNDS and kind_of_type(strip(right)) in INTEGERS and kind_of_type(left) in INTEGERS:
            self.add_at("expression", c, "bound", f"({a}) {op} ({b}) {BOUNDS[op]} 1")

    def arithmetic(self, c, op, left, right):
        other = "-" if op == "+" else "+"
        pointers = [kind_of_type(x) not in INTEGERS for x in (left, right)]
        if not pointers[1] and (op == "+" or not pointers[0] or kind_of_type(c) not in INTEGERS):
            self.add_at("expression", c, "arithmetic", f"({self.of(left)}) {other} ({self.of(right)})")

    def alternatives(self, c):
        """A | B | C without one of them; from the whole chain only."""
        at = self.span(c)
        if not at or any(s.start == at[0] and s.end > at[1] and any(k == "mask" for k, _ in s.mutants)
                         for s in self.sites.values()):
            return
        operands = self.chain(c)
        for i in range(len(operands)):
            rest = operands[:i] + operands[i + 1:]
            self.add_at("expression", c, "mask", " | ".join(rest))

    def chain(self, c):
        while c.kind == K.UNEXPOSED_EXPR and len(list(c.get_children())) == 1:
            c = next(c.get_children())
        children = list(c.get_children())
        if c.kind == K.BINARY_OPERATOR and self.operator(*children) == "|":
            return self.chain(children[0]) + self.chain(children[1])
        return [self.of(c)]

    def mask(self, c, left, right, truth):
        """x & ~F, or x & F whose bits are used, without the mask."""
        if self.of(right).lstrip("(").startswith("~") or not truth:
            self.add_at("expression", c, "mask", self.of(left))


def is_call(c, text):
    if c.kind == K.CALL_EXPR:
        return True
    if c.kind == K.CSTYLE_CAST_EXPR:    # (void)call()
        children = [x for x in c.get_children() if x.kind.is_expression()]
        return bool(children) and text.startswith("(void)") and strip(children[-1]).kind == K.CALL_EXPR
    return bool(re.match(r"(__atomic_|sched_store|vellum_soft_put)\w*\(", text))


def has_exit(body):
    """Whether a statement in the loop's body leaves the loop."""
    loops = (K.FOR_STMT, K.WHILE_STMT, K.DO_STMT, K.SWITCH_STMT)

    def leaves(c, inner):
        if c.kind in (K.RETURN_STMT, K.GOTO_STMT) or (c.kind == K.BREAK_STMT and not inner):
            return True
        return any(leaves(x, inner or c.kind in loops) for x in c.get_children())
    return leaves(body, False)


def semicolons(text, start):
    """Offsets of the two semicolons in the head of the for statement at @start."""
    found, depth, i = [], 0, start
    while len(found) < 2:
        ch = text[i]
        depth += (ch in "([{") - (ch in ")]}")
        if ch == ";" and depth == 1:
            found.append(i)
        i += 1
    return found

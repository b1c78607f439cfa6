"""What `tools/mutation_check.py` removes: the steps of a module, each by itself.

A *step* is one thing that relay or client verifies before it goes on:

    if A or B: ...; raise ...    two steps, each by itself; so are the parts of `not (A and B)`
    check_something(...)         a call made only for what it raises
    open_signed(key, envelope)   becomes: read without verifying
    return ((key, envelope),)    the signatures that a relay's check asks for: becomes none
    return A and B               in a function that only answers a question (is_..., may_...)
    [x for x in y if A]          what is left out; also the choice of `push_to_members`
    Command(allowed=A, size=B)   what the relay's table asks of a frame

and in the files of `GUARDED`, which judge what a relay says without raising:

    if A or B: ...; return       two steps
    if A and B: ...              two steps, where nothing stands in an `else`
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen

__all__ = ["GUARDED", "Mutant", "Step", "mutants_of", "without"]

GUARDED: Final = ("ofcd/client/folding.py", "ofcd/client/ledger.py")
"""Files whose checks end in `return`, not in `raise`."""
_CHECKS: Final = ("check", "require", "verify", "open_signed", "reject")
_ANSWERS: Final = ("is_", "may_", "has_", "can_", "fits", "within", "matches", "accepts", "agrees")
_UNVERIFIED: Final = {
    "open_signed": "__import__('ofcd.themis.signed').themis.signed.peek",
    "verify": "__import__('ofcd.themis').themis.unverified_payload",
}
"""Calls that verify what they return, and those that return it without: the first argument less."""
_ASKED_BY_COMMAND: Final = ("allowed", "size", "guess")


@frozen
class Step:
    """One step of one function; `index` counts equal ones."""

    file: str
    function: str
    text: str
    index: int = 0

    def __str__(self) -> str:
        again = f" ({self.index + 1})" if self.index else ""
        return f"{self.file}: {self.function}: {self.text}{again}"


@frozen
class Mutant:
    """A step, its number among those of its file, and the lines it stands on."""

    step: Step
    number: int
    lines: range = range(0)


Change = Callable[[], None]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Every mutant of one file."""
    made: list[Mutant] = []
    seen: dict[tuple[str, str], int] = {}
    removals = _removals(ast.parse(source), guarded=file in GUARDED)
    for number, (function, text, lines, _) in enumerate(removals):
        index = seen.get((function, text), 0)
        seen[function, text] = index + 1
        made.append(Mutant(Step(file, function, text, index), number, lines))
    return made


def without(source: str, mutant: Mutant) -> str:
    """The source without this step."""
    tree = ast.parse(source)
    removals = list(_removals(tree, guarded=mutant.step.file in GUARDED))
    *_, remove = removals[mutant.number]
    remove()
    return ast.unparse(ast.fix_missing_locations(tree))


# -- where ---------------------------------------------------------------------------------------


def _removals(tree: ast.Module, *, guarded: bool) -> Iterator[tuple[str, str, range, Change]]:
    """Function, step, lines and removal, for every step of a module."""
    for name, text, remove in _commands(tree):
        yield name, text, range(0), remove
    for name, function in _functions(tree, ""):
        for statement in _statements(function):
            for node in _own_nodes(statement):
                for text, remove in _steps(function, node, guarded=guarded):
                    yield name, text, _lines(statement), remove


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield f"{prefix}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _statements(function: Function) -> Iterator[ast.stmt]:
    """Every statement of the function, those in others included."""
    for node in ast.walk(function):
        if isinstance(node, ast.stmt) and node is not function:
            yield node


def _own_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """The statement and what it is made of, but no statement in it."""
    yield statement
    waiting: list[ast.AST] = [statement]
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            if not isinstance(child, ast.stmt):
                yield child
                waiting.append(child)


def _lines(statement: ast.stmt) -> range:
    """Where the statement stands; of a compound one, its head."""
    body = getattr(statement, "body", None) or getattr(statement, "cases", None)
    last = statement.end_lineno or statement.lineno
    if body:
        first = body[0].pattern if isinstance(body[0], ast.match_case) else body[0]
        last = max(statement.lineno, first.lineno - 1)
    return range(statement.lineno, last + 1)


def _commands(tree: ast.Module) -> Iterator[tuple[str, str, Change]]:
    """What the entries of the relay's command table ask for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "Command":
            for keyword in list(node.keywords):
                if keyword.arg in _ASKED_BY_COMMAND:
                    text = f"{keyword.arg}={ast.unparse(keyword.value)}"
                    yield ast.unparse(node.args[1]), text, _remover(node.keywords, keyword)


def _remover(among: list[ast.keyword], one: ast.keyword) -> Change:
    return lambda: among.remove(one)


# -- what ----------------------------------------------------------------------------------------


def _steps(function: Function, node: ast.AST, *, guarded: bool) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.If() if isinstance(node.body[-1], ast.Raise):
            yield from _without_each(node, "test", doubts=True)
        case ast.If() if guarded:
            yield from _guard(node)
        case ast.Expr(value=ast.Call() as call) if _is_check(call):
            yield from _call_steps(node, call)
        case ast.Return(value=ast.expr() as value) if _asks_for_signatures(function, value):
            yield ast.unparse(node), lambda: setattr(node, "value", ast.Tuple([], ast.Load()))
        case ast.Return(value=ast.expr()) if _answers(function):
            yield from _without_each(node, "value", doubts=False)
        case ast.comprehension():
            yield from _filters(node)
        case ast.Call(args=[ast.Lambda() as chosen, *_]) if _called(node) == "push_to_members":
            yield from _without_each(chosen, "body", doubts=False)
    yield from _verified(node)


def _guard(node: ast.If) -> Iterator[tuple[str, Change]]:
    """`if A or B: return`, and `if A and B: ...` without an `else`."""
    if isinstance(node.body[-1], ast.Return | ast.Continue | ast.Break):
        yield from _without_each(node, "test", doubts=True)
    elif not node.orelse:
        yield from _without_each(node, "test", doubts=False)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _is_check(call: ast.Call) -> bool:
    return _called(call).lstrip("_").startswith(_CHECKS)


def _answers(function: Function) -> bool:
    answer = function.returns is not None and ast.unparse(function.returns) == "bool"
    return answer and function.name.lstrip("_").startswith(_ANSWERS)


def _asks_for_signatures(function: Function, value: ast.expr) -> bool:
    wanted = function.returns is not None and ast.unparse(function.returns) == "Signatures"
    return wanted and ast.unparse(value) != "()"


def _call_steps(node: ast.Expr, call: ast.Call) -> Iterator[tuple[str, Change]]:
    """A check's call; of `_require(A and B)` A and B each by itself."""
    parts = list(_parts(call.args[0], doubts=False)) if call.args else []
    for text, drop in parts:
        yield f"{ast.unparse(call.func)}: {text}", drop
    if not parts:
        yield ast.unparse(node), lambda: setattr(node, "value", ast.Constant(None))


def _verified(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """A call whose verified answer is used: the same without verifying."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Call) or isinstance(node, ast.Expr):
            continue
        if _called(child) in _UNVERIFIED and len(child.args) == 2:
            yield ast.unparse(child), _unverifier(child)


def _unverifier(call: ast.Call) -> Change:
    def change() -> None:
        call.func = ast.parse(_UNVERIFIED[_called(call)], mode="eval").body
        del call.args[0]

    return change


def _filters(node: ast.comprehension) -> Iterator[tuple[str, Change]]:
    for index, test in enumerate(node.ifs):
        parts = list(_parts(test, doubts=False))
        yield from parts
        if not parts:
            yield f"if {ast.unparse(test)}", _setter(node.ifs, index)


def _setter(among: list[ast.expr], index: int) -> Change:
    def change() -> None:
        among[index] = ast.Constant(True)

    return change


# -- conditions ----------------------------------------------------------------------------------


def _without_each(node: ast.AST, name: str, *, doubts: bool) -> Iterator[tuple[str, Change]]:
    """The condition without each of its parts.

    `doubts`: it is true where something is wrong, so its parts are joined by `or`; else it is true
    where all is right, and they are joined by `and`.
    """
    whole = getattr(node, name)
    parts = list(_parts(whole, doubts=doubts))
    yield from parts
    if not parts and not isinstance(whole, ast.Constant):
        yield ast.unparse(whole), lambda: setattr(node, name, ast.Constant(not doubts))


def _parts(test: ast.expr, *, doubts: bool) -> Iterator[tuple[str, Change]]:
    match test:
        case ast.BoolOp(op=ast.Or()) if doubts:
            yield from _operands(test)
        case ast.BoolOp(op=ast.And()) if not doubts:
            yield from _operands(test)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            yield from _parts(inner, doubts=not doubts)
        case ast.Compare() if len(test.ops) > 1 and not doubts:
            for index in range(len(test.ops)):
                yield _half(test, index)


def _operands(test: ast.BoolOp) -> Iterator[tuple[str, Change]]:
    """Each operand; one that has parts itself, by its parts."""
    for index, value in enumerate(test.values):
        inner = list(_parts(value, doubts=isinstance(test.op, ast.Or)))
        if inner:
            yield from inner
        else:
            yield ast.unparse(value), _dropper(test, index)


def _dropper(test: ast.BoolOp, index: int) -> Change:
    neutral = isinstance(test.op, ast.And)

    def drop() -> None:
        test.values[index] = ast.Constant(neutral)

    return drop


def _half(test: ast.Compare, index: int) -> tuple[str, Change]:
    """One comparison of `a < b < c`: removed, the others stay."""
    terms = [test.left, *test.comparators]
    text = ast.unparse(ast.Compare(terms[index], [test.ops[index]], [terms[index + 1]]))
    kept = [n for n in range(len(test.ops)) if n != index]

    def drop() -> None:
        [only] = kept
        left, op, right = terms[only], test.ops[only], terms[only + 1]
        test.left, test.ops, test.comparators = copy.copy(left), [op], [right]

    return text, drop

"""Conditions of rules: `when`, an expression in CEL, the Common Expression Language.

A condition is compiled and type-checked when the configuration loads. A regular expression takes
linear time, and an evaluation takes at most 10,000 steps of loops, so no request can make one hang.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Final

from lro_gateway.errors import escaped

MAX_LENGTH: Final = 4096
"""The maximum length of an expression, in characters."""
_CALLER: Final = "caller."
_NAME: Final = "name"
_ARGS: Final = "args"
_LIST: Final = "list of STRING"
_MAP: Final = "map of STRING to DYN"
_VARIABLES: Final[Mapping[str, str]] = {
    "caller.subject": "STRING",
    "caller.issuer": "STRING",
    "caller.tenant": "STRING",
    "caller.client": "STRING",
    "caller.groups": _LIST,
    "caller.scopes": _LIST,
    "verb": "STRING",
    "backend": "STRING",
    _NAME: "STRING",
    "method": "STRING",
    "hints.reads": "BOOL",
    "hints.destructive": "BOOL",
    "hints.idempotent": "BOOL",
    _ARGS: _MAP,
}
"""The type of each variable. The dots are part of the names, so that wrong names are found."""
_FAILURES: Final = (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError)
"""The exceptions of the library: for a mistake, for a limit, and for a value without a form."""
_PLACE: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")
_STATUS: Final = re.compile(r"\A[A-Z_]+: ")
_VALUE: Final = re.compile(r"[:'\"\[]")
"""Begins a value in an error text of the library."""
_CODE: Final = re.compile(r"\s*\[[A-Z_]+\]\Z")


class UnevaluableError(Exception):
    """A condition has no value, for example because the request lacks a field."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition.

    `needs_action` tells whether it uses another variable than those of the caller, and
    `needs_request` whether it uses the name or the arguments.
    """

    source: str
    needs_action: bool
    needs_request: bool
    needs_args: bool
    _expression: Any = field(repr=False, compare=False)

    def holds(self, bound: Any) -> bool:
        """Return whether the condition is true of variables that `bind` returned.

        Raises `UnevaluableError` if it has no value. The text has no part of a request.
        """
        try:
            value = self._expression.eval(bound)
            kind, found = value.type().name(), value.value()
        except _FAILURES as error:
            raise UnevaluableError(_reason(str(error))) from None
        if isinstance(found, bool):
            return found
        if kind == _cel().Type.ERROR.name():
            raise UnevaluableError(_reason(str(found)))
        raise UnevaluableError(f"the value is no bool but a {kind.lower()}")


def bind(variables: Mapping[str, Any]) -> Any:
    """Return the values of all variables in the form that `Condition.holds` takes.

    Several conditions can share it. Raises `UnevaluableError` if a value has no form in CEL.
    """
    try:
        return _environment(frozenset()).Activation(variables)
    except _FAILURES as error:
        raise UnevaluableError(_reason(str(error))) from None


def compiled(source: str) -> Condition:
    """Compile an expression. Raises `ValueError` with the place of the first mistake."""
    if len(source) > MAX_LENGTH:
        raise ValueError(f"an expression has at most {MAX_LENGTH} characters")
    expression = _compiled(source)
    kind = expression.return_type()
    if kind not in (_cel().Type.BOOL, _cel().Type.DYN):
        raise ValueError(f"a bool is needed, and the expression is a {kind.name().lower()}")
    others = frozenset(name for name in _VARIABLES if not name.startswith(_CALLER))
    return Condition(
        source,
        _needs(source, others),
        _needs(source, {_NAME, _ARGS}),
        _needs(source, {_ARGS}),
        expression,
    )


def _needs(source: str, variables: AbstractSet[str]) -> bool:
    """Return whether an expression uses one of the variables, and so fails without them."""
    try:
        _compiled(source, frozenset(variables))
    except ValueError:
        return True
    return False


def _compiled(source: str, without: frozenset[str] = frozenset()) -> Any:
    try:
        return _environment(without).compile(source)
    except _FAILURES as error:
        raise ValueError(_mistake(str(error), source)) from None


@cache
def _environment(without: frozenset[str]) -> Any:
    """Return the library's object that knows all variables but these."""
    library = _cel()
    types = library.Type
    composed = {_LIST: types.List(types.STRING), _MAP: types.Map(types.STRING, types.DYN)}
    known = {
        name: composed.get(kind) or getattr(types, kind)
        for name, kind in _VARIABLES.items()
        if name not in without
    }
    return library.NewEnv(variables=known)


@cache
def _cel() -> Any:
    """Import the library, which takes 4 MB, and which a policy without conditions does not need."""
    return import_module("cel_expr_python.cel")


def _mistake(text: str, source: str) -> str:
    """Return the first mistake in an error text of the library, with its place."""
    found = _PLACE.search(text)
    if found is None:
        return _first_line(text)
    line, column, problem = int(found[1]), int(found[2]), _CODE.sub("", found[3])
    problem = problem.removesuffix(" (in container '')")
    place = f"line {line}, column {column}" if "\n" in source else f"column {column}"
    return f"{place}: {escaped(problem)}"


def _first_line(text: str) -> str:
    return escaped(_CODE.sub("", text.strip().partition("\n")[0]))[:200]


def _reason(text: str) -> str:
    """Return the library's reason without the values that it quotes, which may be a caller's."""
    without_code = _STATUS.sub("", _first_line(text))
    return _VALUE.split(without_code, maxsplit=1)[0].strip() or "the library gave no reason"

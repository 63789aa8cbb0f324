"""Which methods are offered, and what each does to the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.descriptors.methods import Method

# The verbs that begin the names of methods (AIP-131 to 136), and what they tell.
_MANY: Final = frozenset({"batch", "bulk"})
_READS: Final = frozenset({"get", "list", "search", "query", "lookup", "describe", "count"})
_ADDS: Final = frozenset({"create", "add", "insert", "export", "backup", "copy", "clone"})
_DESTROYS: Final = frozenset(
    {
        *("delete", "purge", "drop", "remove", "destroy", "truncate", "cancel", "reset", "restore"),
        *("update", "patch", "set", "replace"),
    }
)
_IDEMPOTENT: Final = frozenset({"update", "delete", "set", "replace", "cancel"})


@dataclass(frozen=True, slots=True)
class Hints:
    """What a method does to the world, as MCP's tool annotations put it.

    `destroys` is whether it may do more than add to it; None where nothing tells, which a client
    takes for the worse.
    """

    reads: bool
    destroys: bool | None
    idempotent: bool


@dataclass(frozen=True, slots=True)
class OfferRules:
    """Which methods of a backend are offered, by patterns of `pkg.Service/Method`.

    Long-running methods are, unless `exclude` matches; plain ones where `include` does. `confirm`
    marks those that a person must agree to; the hints override what the names suggest.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    hints: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)

    def offers(self, method: Method) -> bool:
        """Tell whether a method is offered."""
        if self.excludes(method.path):
            return False
        return method.is_long_running or _matches(method, self.include)

    def excludes(self, path: str) -> bool:
        """Tell whether a `pkg.Service/Method` is excluded."""
        return any(fnmatchcase(path, pattern) for pattern in self.exclude)

    def confirms(self, path: str) -> bool:
        """Tell whether a person must agree first to a `pkg.Service/Method`."""
        return any(fnmatchcase(path, pattern) for pattern in self.confirm)

    def hints_of(self, method: Method) -> Hints:
        """Return what a method does, by its HTTP verb and its name's, or as the rules say."""
        http = {binding.verb for binding in method.bindings}
        verb = _verb(method)
        named_read = not http and not method.is_long_running and verb in _READS
        reads = http == {"GET"} or named_read
        destroys = False if reads else _destroys(http, verb)
        idempotent = reads or bool(http & {"PUT", "DELETE"}) or verb in _IDEMPOTENT
        stated: dict[str, bool] = {}
        for pattern, hints in self.hints.items():
            if _matches(method, (pattern,)):
                stated.update(hints)
        return Hints(
            stated.get("read_only", reads),
            stated.get("destructive", destroys),
            stated.get("idempotent", idempotent),
        )


def _verb(method: Method) -> str:
    """Return the verb of a method's name: `delete` of DeleteBook and of BatchDeleteBooks."""
    words = method.words
    return next((word for word in words if word not in _MANY), "")


def _destroys(http: set[str], verb: str) -> bool | None:
    if verb in _DESTROYS or http & {"DELETE", "PATCH", "PUT"}:
        return True
    return False if verb in _ADDS else None


def _matches(method: Method, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(method.path, pattern) for pattern in patterns)


def most_cautious(hints: Iterable[Hints]) -> Hints:
    """Return what holds wherever a method is called: one backend's hints must not vouch for all."""
    each = tuple(hints)
    destroys = {hint.destroys for hint in each}
    return Hints(
        all(hint.reads for hint in each),
        True if True in destroys else None if None in destroys else False,
        all(hint.idempotent for hint in each),
    )

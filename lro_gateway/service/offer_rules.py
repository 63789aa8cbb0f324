"""The settings that decide which methods are offered, and what their hints are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.descriptors.hints import Hints
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.request_ids import is_declared_unique

# The first words of method names (AIP-131 to AIP-136), grouped by the effect that they suggest.
_MANY: Final = frozenset({"batch", "bulk"})
_READS: Final = frozenset(
    {
        *("get", "list", "search", "query", "lookup", "describe", "count"),
        *("fetch", "read", "find", "retrieve", "show", "view", "watch", "aggregated"),
    }
)
_JOINS: Final = frozenset({"and", "or"})
"""Words that may join a second effect to a name, as in GetOrCreateBook.

A name with such a word says two things, so the gateway takes no hint from it.
"""
_ADDS: Final = frozenset({"create", "add", "insert", "export", "backup", "copy", "clone"})
_DESTROYS: Final = frozenset(
    {
        *("delete", "purge", "drop", "remove", "destroy", "truncate", "cancel", "reset", "restore"),
        *("update", "patch", "set", "replace"),
    }
)
_IDEMPOTENT: Final = frozenset({"update", "delete", "set", "replace", "cancel"})


@dataclass(frozen=True, slots=True)
class OfferRules:
    """The rules that decide which methods of a backend the gateway offers.

    The patterns match `pkg.Service/Method`. A long-running method is offered unless a pattern of
    `exclude` matches it. A plain method is offered only if a pattern of `include` matches it and
    none of `exclude` does. A person must agree to calls of the methods that `confirm` matches.
    `hints` override the hints that the gateway derives from HTTP verbs and method names. The
    methods that `request_ids` matches have a `request_id` by which the backend recognizes a
    repeated call. Calls of the methods that `approval` matches wait for an approval.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    hints: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    request_ids: tuple[str, ...] = ()
    approval: tuple[str, ...] = ()

    def offers(self, method: Method) -> bool:
        """Return whether the gateway offers a method."""
        if self.excludes(method.path):
            return False
        return method.is_long_running or _matches(method, self.include)

    def excludes(self, path: str) -> bool:
        """Return whether a pattern of `exclude` matches `pkg.Service/Method`."""
        return any(fnmatchcase(path, pattern) for pattern in self.exclude)

    def confirms(self, path: str) -> bool:
        """Return whether a person must agree before `pkg.Service/Method` is called."""
        return any(fnmatchcase(path, pattern) for pattern in self.confirm)

    def needs_approval(self, path: str) -> bool:
        """Return whether somebody must approve each call of `pkg.Service/Method`."""
        return any(fnmatchcase(path, pattern) for pattern in self.approval)

    def recognizes_repeats(self, method: Method) -> bool:
        """Return whether a second call with the same `request_id` has no further effect.

        The field declares this (AIP-4235), or the configuration states it for the method.
        """
        key = method.idempotency_key
        return key is not None and (is_declared_unique(key) or _matches(method, self.request_ids))

    def repeats_freely(self, method: Method) -> bool:
        """Return whether a second call of a plain method has no further effect (AIP-194).

        A method declares this by an idempotency_level, or it is a read that has only GET rules.
        """
        if method.is_long_running:
            return False
        return bool(method.idempotency_level) or (
            bool(method.bindings) and self.hints_of(method).reads
        )

    def hints_of(self, method: Method) -> Hints:
        """Return the configured hints of a method, and derive the missing ones from its verbs.

        Its verbs are the HTTP verbs of its bindings, and the verb in its name. A method is a read
        only if both its HTTP verbs and its name say so, because some services start work by GET.
        """
        http = {binding.verb for binding in method.bindings}
        is_joined = bool(_JOINS & {*method.words})
        verb = "" if is_joined else _verb(method)
        reads = http <= {"GET"} and verb in _READS and not method.is_long_running
        destroys = False if reads else _destroys(http, verb)
        repeats = bool(http & {"PUT", "DELETE"}) or verb in _IDEMPOTENT
        idempotent = reads or (repeats and not is_joined)
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
    """Return the verb of a method's name, such as `delete` for DeleteBook and BatchDeleteBooks."""
    words = method.words
    return next((word for word in words if word not in _MANY), "")


def _destroys(http: set[str], verb: str) -> bool | None:
    if verb in _DESTROYS or http & {"DELETE", "PATCH", "PUT"}:
        return True
    return False if verb in _ADDS else None


def _matches(method: Method, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(method.path, pattern) for pattern in patterns)

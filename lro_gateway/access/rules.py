"""The rules of `[[policy]]`, and the ways in which a rule does not match a request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.access.conditions import Condition
from lro_gateway.access.policy import OF_METHODS, OF_OPERATIONS, READS, Verb
from lro_gateway.descriptors.hints import Hints
from lro_gateway.operations.names import NamePattern, is_relative, split_full_name
from lro_gateway.principal import Principal

_ANY: Final = "**"
_NO_HINTS: Final = Hints(reads=True, destroys=False, idempotent=True)
_CHANGE_HINTS: Final = Hints(reads=False, destroys=True, idempotent=True)


@dataclass(frozen=True, slots=True)
class NameRule:
    """A pattern of canonical names. `*` is one segment, and `**` is one or more.

    A pattern that begins with `//backend/` matches names of this backend. Any other pattern
    matches the part of a name after `//backend/`. A name that is no well-formed resource name, such
    as `databases/../secrets`, may mean something else to a backend, so that only `**` matches it.
    """

    text: str
    backend: str
    pattern: NamePattern | None

    @classmethod
    def parse(cls, text: str) -> NameRule:
        """Parse a pattern. Raises `ValueError` if no name can match it."""
        backend, relative = split_full_name(text)
        if relative != _ANY and not is_relative(relative.replace("{", "").replace("}", "")):
            raise ValueError(f"no name can match {text!r}")
        pattern = None if relative == _ANY else NamePattern.parse(relative)
        return cls(text, backend or "", pattern)

    def matches(self, backend: str, relative: str) -> bool:
        """Return whether the pattern matches a name, without `//backend/`, of a backend."""
        if self.backend not in {"", backend}:
            return False
        return self.pattern is None or self.pattern.match(relative) is not None

    def may_match_below(self, backend: str, parent: str) -> bool:
        """Return whether the pattern may match names below a parent."""
        if self.backend not in {"", backend}:
            return False
        return self.pattern is None or self.pattern.matches_prefix(parent)


@dataclass(frozen=True, slots=True)
class Facts:
    """The parts of an action that a rule sees, without its caller and its arguments.

    `name` is the canonical name of an operation, or the parent of a list.
    """

    verb: Verb
    backend: str
    name: str = ""
    method: str = ""
    hints: Hints = _NO_HINTS

    @property
    def reads(self) -> bool:
        """Whether the action changes nothing."""
        return self.verb in READS or self.verb is Verb.EXPLAIN or self.hints.reads

    @property
    def relative(self) -> str:
        """The name without `//backend/`."""
        return split_full_name(self.name)[1] if self.name.startswith("//") else self.name


def hints_of(verb: Verb) -> Hints:
    """Return the hints of a verb of operations."""
    return _NO_HINTS if verb in READS or verb is Verb.EXPLAIN else _CHANGE_HINTS


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule. An empty field matches everything.

    A caller must have all `scopes`, one of the `groups`, and one value of each other field. `names`
    narrow the verbs of operations, and `methods` narrow those of methods. With `reads`, the rule
    matches only calls that change nothing, and with `changes`, only calls that may change
    something.
    """

    label: str
    allows: bool
    verbs: frozenset[Verb]
    issuers: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    backends: frozenset[str] = frozenset()
    names: tuple[NameRule, ...] = ()
    methods: tuple[str, ...] = ()
    reads: bool = False
    changes: bool = False
    when: Condition | None = None

    def wrong_caller(self, caller: Principal) -> str:
        """Return why the rule does not match a caller with any scopes, or an empty text."""
        for noun, allowed, found in (
            ("issuer", self.issuers, caller.issuer),
            ("subject", self.subjects, caller.subject),
            ("tenant", self.tenants, caller.tenant),
            ("client", self.clients, caller.client),
        ):
            if allowed and found not in allowed:
                return f"the {noun} is not {_one_of(allowed)}"
        if self.groups and self.groups.isdisjoint(caller.groups):
            return f"the caller is not in {_one_of(self.groups)}"
        return ""

    def missing_scopes(self, caller: Principal) -> frozenset[str]:
        """Return the scopes of the rule that the caller lacks."""
        return self.scopes - caller.scopes

    def wrong_action(self, facts: Facts) -> str:
        """Return why the rule does not match an action with any name, or an empty text."""
        if facts.verb not in self.verbs:
            return f"its verbs are {_one_of(each.value for each in self.verbs)}"
        if self.backends and facts.backend not in self.backends:
            return f"the backend is not {_one_of(self.backends)}"
        if facts.verb in OF_METHODS and not self._has_method(facts.method):
            return f"the method does not match {_one_of(self.methods)}"
        if self.reads and not facts.reads:
            return "it is for reads only"
        if self.changes and facts.reads:
            return "it is for changes only"
        return ""

    def _has_method(self, path: str) -> bool:
        return not self.methods or any(fnmatchcase(path, pattern) for pattern in self.methods)

    @property
    def narrows_methods(self) -> bool:
        """Whether the method decides if the rule matches a call."""
        return bool(self.methods) or self.reads or self.changes

    def narrows_names(self, verb: Verb) -> bool:
        """Return whether the name decides if the rule matches an action of a verb."""
        return bool(self.names) and verb in OF_OPERATIONS

    def wrong_name(self, facts: Facts) -> str:
        """Return why the rule does not match an operation's name, or an empty text."""
        if not self.narrows_names(facts.verb):
            return ""
        relative = facts.relative
        if not is_relative(relative):
            # Such a name may mean something else to its backend. So no allow rule for some names
            # matches it, and each deny rule does.
            found = not self.allows or any(each.pattern is None for each in self.names)
        else:
            found = any(each.matches(facts.backend, relative) for each in self.names)
        return "" if found else f"the name does not match {_one_of(e.text for e in self.names)}"

    def may_match_below(self, facts: Facts) -> bool:
        """Return whether the rule may match the names of operations below a parent."""
        # The segment - stands for all resources of a collection (AIP-159).
        parent = f"{facts.relative}/".partition("/-/")[0].removesuffix("/").removeprefix("-")
        return not self.narrows_names(facts.verb) or any(
            each.may_match_below(facts.backend, parent) for each in self.names
        )


def _one_of(values: Iterable[str]) -> str:
    ordered = sorted(values)
    return ordered[0] if len(ordered) == 1 else f"one of {', '.join(ordered)}"

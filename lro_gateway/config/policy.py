"""The tables `[[policy]]`: the rules that decide who may do what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lro_gateway.access.conditions import compiled
from lro_gateway.access.policy import CHANGES, OF_METHODS, OF_OPERATIONS, Verb
from lro_gateway.access.rules import NameRule, Rule
from lro_gateway.config.tables import Table
from lro_gateway.config.values import Description, MethodPattern

_VERBS: Final = tuple(verb.value for verb in Verb)
_EVERY: Final = "*"


def _check_verb(value: object) -> object:
    if value == _EVERY or value in _VERBS:
        return value
    raise ValueError(f'there is no verb {value!r}; the verbs are {", ".join(_VERBS)}, and "*"')


def _check_name(value: str) -> str:
    NameRule.parse(value)
    return value


def _check_text(value: str) -> str:
    if not value.strip():
        raise ValueError("an empty text matches no caller")
    return value


def _check_scope(value: str) -> str:
    if not value or any(not 0x21 <= ord(each) <= 0x7E or each in '"\\' for each in value):
        raise ValueError("a scope has printable ASCII characters, and no blanks or quotes")
    return value


def _check_when(value: str) -> str:
    compiled(value)
    return value


def _some(values: Sequence[Any]) -> Sequence[Any]:
    if not values:
        raise ValueError("an empty list matches nothing; leave the key out to match everything")
    return values


_Some = AfterValidator(_some)
_Texts = Annotated[tuple[Annotated[str, AfterValidator(_check_text)], ...] | None, _Some]
_VerbName = Annotated[str, BeforeValidator(_check_verb)]
_Verbs = Annotated[tuple[_VerbName, ...], _Some]


class RuleConfig(Table):
    """One rule. `allow` or `deny` has the verbs, and every other key narrows what it matches.

    The keys are those of `access.rules.Rule`. `when` is an expression in CEL.
    """

    name: Description = ""
    allow: _Verbs | None = None
    deny: _Verbs | None = None
    issuers: _Texts | None = None
    subjects: _Texts | None = None
    tenants: _Texts | None = None
    groups: _Texts | None = None
    clients: _Texts | None = None
    scopes: Annotated[tuple[Annotated[str, AfterValidator(_check_scope)], ...], _Some] | None = None
    backends: _Texts | None = None
    names: Annotated[tuple[Annotated[str, AfterValidator(_check_name)], ...], _Some] | None = None
    methods: Annotated[tuple[MethodPattern, ...], _Some] | None = None
    read_only: bool = Field(default=False, strict=True)
    when: Annotated[str, AfterValidator(_check_when)] | None = None

    @property
    def verbs(self) -> frozenset[Verb]:
        """The verbs that the rule allows or denies."""
        given = self.allow or self.deny or ()
        if _EVERY in given:
            # Explanations have no backend, name or method, so a rule with one of these is not for
            # them.
            return frozenset(Verb) - ({Verb.EXPLAIN} if self._is_narrowed else set())
        return frozenset(map(Verb, given))

    @property
    def _is_narrowed(self) -> bool:
        return bool(self.backends or self.names or self.methods)

    @model_validator(mode="after")
    def _check(self) -> RuleConfig:
        if (self.allow is None) == (self.deny is None):
            raise ValueError("a rule has either allow or deny, with a list of verbs")
        if mistake := next(self._mistakes(), ""):
            raise ValueError(mistake)
        return self

    def _mistakes(self) -> Iterator[str]:
        """Yield what makes the rule match nothing, or more than it seems to."""
        verbs = self.verbs
        operations, methods = verbs & OF_OPERATIONS, verbs & OF_METHODS
        if self.deny is not None and self.read_only:
            yield "read_only belongs to a rule that allows"
        if self.read_only and verbs <= CHANGES:
            yield f"read_only leaves nothing of {_listed(verbs)}"
        if self.names and not operations:
            yield f"names are those of operations, so they never match {_listed(verbs)}"
        if self.methods and not methods:
            yield f"methods match only {_listed(OF_METHODS)}, so they never match {_listed(verbs)}"
        if self.names and methods and not self.methods:
            yield (
                f"names do not narrow {_listed(methods)}; write methods too, or a rule of its own"
                f" for {_listed(methods)}"
            )
        if self.methods and operations and not self.names:
            yield (
                f"methods do not narrow {_listed(operations)}; write names too, or a rule of its"
                f" own for {_listed(operations)}"
            )
        if Verb.EXPLAIN in verbs and self._is_narrowed:
            yield "explain is about all rules, so backends, names and methods cannot narrow it"

    def rule(self, index: int) -> Rule:
        """Return the rule with its place in the file."""
        return Rule(
            f"policy[{index}]" + (f" ({self.name})" if self.name else ""),
            allows=self.allow is not None,
            verbs=self.verbs,
            issuers=frozenset(self.issuers or ()),
            subjects=frozenset(self.subjects or ()),
            tenants=frozenset(self.tenants or ()),
            groups=frozenset(self.groups or ()),
            clients=frozenset(self.clients or ()),
            scopes=frozenset(self.scopes or ()),
            backends=frozenset(self.backends or ()),
            names=() if self.names is None else tuple(map(NameRule.parse, self.names)),
            methods=self.methods or (),
            reads=self.read_only,
            when=compiled(self.when) if self.when is not None else None,
        )


def rules_of(configured: Sequence[RuleConfig], *, read_only: bool) -> list[Rule]:
    """Return the rules of a gateway. A gateway that only reads denies all changes first.

    Without any rule, everything is allowed, and the list is empty.
    """
    rules = [each.rule(index) for index, each in enumerate(configured)]
    if not read_only:
        return rules
    every = frozenset(Verb)
    return [
        Rule("server.read_only", allows=False, verbs=every, changes=True),
        *(rules or [Rule("the default without [[policy]]", allows=True, verbs=every)]),
    ]


def unknown_backends(
    configured: Sequence[RuleConfig], backends: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield the key and the text of each rule that names a backend which does not exist."""
    known = ", ".join(backends) or "none"
    for index, rule in enumerate(configured):
        named = [(f"backends[{at}]", name) for at, name in enumerate(rule.backends or ())]
        patterns = [(f"names[{at}]", NameRule.parse(n)) for at, n in enumerate(rule.names or ())]
        named += [(key, pattern.backend) for key, pattern in patterns if pattern.backend]
        for key, name in named:
            if name not in backends:
                yield f"policy[{index}].{key}", f"there is no backend {name!r}; there are: {known}"


def _listed(verbs: frozenset[Verb]) -> str:
    return ", ".join(verb.value for verb in Verb if verb in verbs)

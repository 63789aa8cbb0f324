"""The policy: it decides which actions a caller may do, and which operations a caller may see."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self, TypeVar

from google.protobuf.message import Message

from lro_gateway.descriptors.hints import Hints
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal


class Verb(enum.Enum):
    """The kinds of action. This is the only list of them."""

    GET = "get"
    LIST = "list"
    WAIT = "wait"
    CANCEL = "cancel"
    DELETE = "delete"
    START = "start"
    CALL = "call"
    APPROVE = "approve"
    EXPLAIN = "explain"


READS: Final = frozenset({Verb.GET, Verb.LIST, Verb.WAIT})
"""The verbs that read operations."""
CHANGES: Final = frozenset({Verb.CANCEL, Verb.DELETE})
"""The verbs that change operations."""
OF_OPERATIONS: Final = READS | CHANGES
OF_METHODS: Final = frozenset({Verb.START, Verb.CALL, Verb.APPROVE})
"""The verbs of methods. `approve` is to let another caller's start or call happen."""


@dataclass(frozen=True, slots=True)
class OperationAction:
    """The action to get, wait for, cancel or delete an operation.

    `name` is the canonical name, even if the caller used another spelling. Each operation has
    exactly one canonical name.
    """

    verb: Verb
    backend: str
    name: GatewayName


@dataclass(frozen=True, slots=True)
class ListAction:
    """The action to list operations of a backend.

    `parent` is the canonical name of their parent. If it is empty, the action is to list all
    operations of the backend.
    """

    backend: str
    parent: GatewayName
    verb: Verb = Verb.LIST


@dataclass(frozen=True, slots=True)
class MethodAction:
    """The action to start a long-running method (`Verb.START`) or call a plain one (`Verb.CALL`).

    It is also the action to approve such a start or call of another caller (`Verb.APPROVE`).
    `request` is the parsed message, because several JSON texts can mean the same message. `types`
    are those of its Anys.
    """

    verb: Verb
    backend: str
    method: Method
    request: Message
    hints: Hints = field(compare=False)
    types: TypeSet = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ExplainAction:
    """The action to ask which rule decides. The answer has all rules."""

    verb: Verb = Verb.EXPLAIN
    backend: str = ""


Action = OperationAction | ListAction | MethodAction | ExplainAction


class MethodOffer(Protocol):
    """A method that some backends offer."""

    @property
    def method(self) -> Method:
        """The method."""

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends that offer it."""

    @property
    def hints(self) -> Hints:
        """The hints of the method, which hold on every backend."""

    def on(self, backends: Iterable[str]) -> Self:
        """Return the offer with only these of its backends."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The backends that a caller may use at all.

    `usable` has the backends on which each verb may be allowed, and `shown` those on which any may.
    `challenged` has all backends on which some verb may be allowed, or would be if the caller's
    credentials granted further scopes.
    """

    usable: Mapping[Verb, frozenset[str]]
    shown: frozenset[str]
    challenged: frozenset[str]

    def backends(self, verb: Verb | None = None) -> frozenset[str]:
        """Return the backends on which a verb, or any verb, may be allowed."""
        return self.shown if verb is None else self.usable.get(verb, frozenset())


@dataclass(frozen=True, slots=True)
class Step:
    """A rule, and what it says of the action."""

    rule: str
    because: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision on an action, and the rules that were looked at.

    `rule` is the label of the rule that decides, or empty if none does. `scopes` are those of the
    first rule before it that does not match only because the caller lacks them.
    """

    allowed: bool
    rule: str = ""
    steps: tuple[Step, ...] = ()
    scopes: frozenset[str] = frozenset()


_Offer = TypeVar("_Offer", bound=MethodOffer)


class Policy(Protocol):
    """Decides which actions a caller may do, and which operations and methods a caller may see.

    The methods that decide are async, so that a policy can query an authorization service.
    """

    async def authorize(self, caller: Principal, action: Action, /) -> str:
        """Return the rule that allows the action, or an empty text if there are no rules.

        Raises a `StatusError` if the caller may not do the action. The error is PERMISSION_DENIED.
        A policy that hides the existence of an operation raises NOT_FOUND, with the error text for
        an operation that does not exist. The gateway calls this method before it calls the backend.
        """

    async def visible(
        self, caller: Principal, operations: Sequence[Operation], /
    ) -> Sequence[Operation]:
        """Return the operations that the caller may see, in the given order."""

    async def offered(
        self, caller: Principal, offers: Mapping[str, _Offer], /, *, challenged: bool = False
    ) -> Mapping[str, _Offer]:
        """Return the offers that the caller may see, each with the backends that it may use.

        If the caller may see all offers, return the given mapping itself. With `challenged`, also
        return those that the caller could use if its credentials granted further scopes.
        """

    def explain(self, caller: Principal, action: Action, /) -> Explanation:
        """Return which rule decides on an action, and why the earlier ones do not."""

    def reach(self, caller: Principal, /) -> Reach | None:
        """Return what the caller may ever do, or None if nothing is forbidden."""


class AllowAll:
    """Allows every action to every caller, for a gateway that only its own machine can reach."""

    async def authorize(self, _caller: Principal, _action: Action, /) -> str:
        """Allow the action."""
        return ""

    async def visible(
        self, _caller: Principal, operations: Sequence[Operation]
    ) -> Sequence[Operation]:
        """Return all operations."""
        return operations

    async def offered(
        self, _caller: Principal, offers: Mapping[str, _Offer], *, challenged: bool = False
    ) -> Mapping[str, _Offer]:
        """Return all offers."""
        del challenged
        return offers

    def explain(self, _caller: Principal, _action: Action, /) -> Explanation:
        """Return that everything is allowed."""
        return Explanation(allowed=True)

    def reach(self, _caller: Principal) -> Reach | None:
        """Return None."""
        return None

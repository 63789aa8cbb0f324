"""The policy: it decides which actions a caller may do, and which operations a caller may see."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from lro_gateway.descriptors.methods import Method
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal


class Verb(enum.Enum):
    """The kinds of action."""

    GET = "get"
    LIST = "list"
    WAIT = "wait"
    CANCEL = "cancel"
    DELETE = "delete"
    START = "start"
    CALL = "call"


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

    `request` is the parsed message, because several JSON texts can mean the same message.
    """

    verb: Verb
    backend: str
    method: Method
    request: Message


Action = OperationAction | ListAction | MethodAction


class MethodOffer(Protocol):
    """A method that some backends offer."""

    @property
    def method(self) -> Method:
        """The method."""

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends that offer it."""


_Offer = TypeVar("_Offer", bound=MethodOffer)


class Policy(Protocol):
    """Decides which actions a caller may do, and which operations and methods a caller may see.

    All methods are async, so that a policy can query a database or an authorization service.
    """

    async def authorize(self, caller: Principal, action: Action, /) -> None:
        """Do nothing if the caller may do the action, and raise a `StatusError` if not.

        The error is PERMISSION_DENIED. A policy that hides the existence of an operation raises
        NOT_FOUND, with the error text for an operation that does not exist. The gateway calls this
        method before it calls the backend.
        """

    async def visible(
        self, caller: Principal, operations: Sequence[Operation], /
    ) -> Sequence[Operation]:
        """Return the operations that the caller may see, in the given order."""

    async def offered(
        self, caller: Principal, offers: Mapping[str, _Offer], /
    ) -> Mapping[str, _Offer]:
        """Return the offers that the caller may see.

        If the caller may see all offers, return the given mapping itself.
        """


class AllowAll:
    """Allows every action to every caller, for a gateway that only its own machine can reach."""

    async def authorize(self, caller: Principal, action: Action, /) -> None:
        """Allow the action."""

    async def visible(
        self, _caller: Principal, operations: Sequence[Operation]
    ) -> Sequence[Operation]:
        """Return all operations."""
        return operations

    async def offered(
        self, _caller: Principal, offers: Mapping[str, _Offer]
    ) -> Mapping[str, _Offer]:
        """Return all offers."""
        return offers

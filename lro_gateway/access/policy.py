"""What a caller may do: the actions that a policy decides on, and the policy that allows them."""

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
    """Get, wait for, cancel or delete an operation.

    `name` is the canonical name, which is one for each operation, however the caller spelled it.
    """

    verb: Verb
    backend: str
    name: GatewayName


@dataclass(frozen=True, slots=True)
class ListAction:
    """List the operations of a backend; `parent` is canonical, and empty for all of them."""

    backend: str
    parent: GatewayName
    verb: Verb = Verb.LIST


@dataclass(frozen=True, slots=True)
class MethodAction:
    """Start a long-running method (`Verb.START`), or call a plain one (`Verb.CALL`).

    `request` holds the parsed arguments, because JSON has several spellings of one message.
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
    """Decides what a caller may do and see. Each method may wait for a database or a service."""

    async def authorize(self, caller: Principal, action: Action, /) -> None:
        """Return if the caller may do this.

        Raises a `StatusError`: PERMISSION_DENIED, or NOT_FOUND in the words of an operation that
        does not exist. The gateway asks before it calls the backend.
        """

    async def visible(
        self, caller: Principal, operations: Sequence[Operation], /
    ) -> Sequence[Operation]:
        """Return those operations that the caller may see, in their order."""

    async def offered(
        self, caller: Principal, offers: Mapping[str, _Offer], /
    ) -> Mapping[str, _Offer]:
        """Return those offers that the caller may see; the same mapping if these are all."""


class AllowAll:
    """Allows every caller everything, for a gateway that only its own machine can reach."""

    async def authorize(self, caller: Principal, action: Action, /) -> None:
        """Allow it."""

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

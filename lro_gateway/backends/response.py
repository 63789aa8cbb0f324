"""The response of a plain method, which is no operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from lro_gateway.backends.channel import Endpoint
from lro_gateway.backends.status import unprintable_response
from lro_gateway.descriptors.elements import size_of
from lro_gateway.descriptors.http_body import RawBody, bodies
from lro_gateway.descriptors.printing import DEFAULT_OPTIONS, JsonOptions, to_json
from lro_gateway.descriptors.type_set import TypeSet

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Response:
    """A response message, with the types of its Anys, from the RPC of a backend."""

    message: Message
    types: TypeSet
    rpc: str
    endpoint: Endpoint

    def to_json(self, options: JsonOptions = DEFAULT_OPTIONS) -> Any:
        """Return the response as ProtoJSON. Raises an error if a value has no JSON form."""
        try:
            return to_json(self.message, self.types, options)
        except (ValueError, json_format.Error) as error:
            raise unprintable_response(self.rpc, self.endpoint, str(error)) from None

    async def json(self) -> Any:
        """Return what `to_json` returns; a large message is printed in the thread."""
        return await self.run(self.to_json)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return the result of work with the message, in the thread if the message is large."""
        return await self.types.capacity.run(self.size, work)

    @property
    def size(self) -> int:
        """The size of the message in bytes of its wire format."""
        return size_of(self.message)

    def bodies(self) -> Iterator[RawBody]:
        """Yield the HttpBody that the response is, or those that its fields hold."""
        return bodies(self.message)

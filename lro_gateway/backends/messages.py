"""Parsing of the bytes that gRPC received."""

from __future__ import annotations

from functools import partial
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from lro_gateway.backends.channel import Endpoint
from lro_gateway.backends.status import malformed_response, too_many_elements
from lro_gateway.descriptors.elements import Capacity
from lro_gateway.descriptors.type_set import TypeSet

_Message = TypeVar("_Message", bound=Message)


async def received(
    kind: type[_Message], content: object, capacity: Capacity, rpc: str, endpoint: Endpoint
) -> _Message:
    """Parse the content of an answer as a message of this type.

    Raises MALFORMED_RESPONSE if the content is no such message, and RESPONSE_TOO_LARGE if the
    message has more elements than the capacity. The elements are counted before they are parsed.
    """
    # An element has at least one byte, so most messages need not be counted.
    if isinstance(content, bytes) and len(content) > capacity.max_elements:
        descriptor = cast("Descriptor", kind.DESCRIPTOR)
        exceeds = partial(capacity.exceeds, content, descriptor)
        if await capacity.run(len(content), exceeds):
            raise too_many_elements(rpc, endpoint, capacity.max_elements)
    answer = parsed(kind, content)
    if answer is None:
        raise malformed_response(rpc, endpoint)
    return answer


async def check_payloads(page: Message, types: TypeSet, rpc: str, endpoint: Endpoint) -> None:
    """Raise RESPONSE_TOO_LARGE if a page has too many elements with those inside its Anys."""
    capacity, size = types.capacity, page.ByteSize()
    if size > capacity.max_elements:
        descriptor = cast("Descriptor", type(page).DESCRIPTOR)
        content = page.SerializeToString()
        exceeds = partial(capacity.exceeds, content, descriptor, types.descriptor)
        if await capacity.run(size, exceeds):
            raise too_many_elements(rpc, endpoint, capacity.max_elements)


def parsed(kind: type[_Message], content: object) -> _Message | None:
    """Parse the content of an answer as a message of this type. Return None if that fails.

    The content is None instead of bytes if a call ended with OK and without a message.
    """
    if not isinstance(content, bytes):
        return None
    try:
        return kind.FromString(content)
    except DecodeError:
        return None

"""Requests of methods, parsed from ProtoJSON and ready to send."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.message import Message

from lro_gateway.backends.backend import Backend
from lro_gateway.background import Slices
from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.field_behavior import is_update
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.parsing import Absent, UnknownTypesError, parse
from lro_gateway.descriptors.request_ids import value_of
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import Code, status_error
from lro_gateway.records.entries import Key
from lro_gateway.service.absent_fields import check_absent, required
from lro_gateway.service.offer_rules import OfferRules
from lro_gateway.service.verb_requests import StartRequest, unknown_argument


@dataclass(frozen=True, slots=True)
class Prepared:
    """A method's request, ready to send. `request_id` is None unless the gateway put one in.

    `rules` are the rules of the backend that gets the request. `key` is None if the caller gave no
    idempotency key.
    """

    method: Method
    request: Message
    request_id: str | None
    rules: OfferRules
    key: Key | None = None

    @property
    def sent_id(self) -> str:
        """The request_id of the request, which the caller or the gateway put in, or ""."""
        key = self.method.idempotency_key
        return (value_of(self.request, key) or "") if key is not None else ""


async def prepare(
    backend: Backend, method: Method, request: StartRequest, rules: OfferRules, slices: Slices
) -> Prepared:
    """Parse ProtoJSON arguments into the request, and put in a request_id if it has none.

    A wrong or missing argument raises INVALID_ARGUMENT, which names the field.
    """
    arguments = request.arguments
    is_bare = method.request.full_name in well_known.BARE
    message, absent = (
        await parsed(backend, method, _in_value(arguments, request.also), "value")
        if is_bare
        else await parsed(backend, method, dict(arguments), also=request.also)
    )
    if absent:
        await check_absent(
            absent,
            backend.registry.types,
            slices,
            is_update=is_update(method.request),
            by_library=request.by_library,
        )
    for path in message.FindInitializationErrors():
        # Protobuf refuses to serialize a message that lacks a required field of proto2.
        raise required([path])
    return Prepared(method, message, _fill_request_id(method, message), rules)


async def parsed(
    backend: Backend, method: Method, value: Any, path: str = "", also: Sequence[str] = ()
) -> tuple[Any, list[Absent]]:
    """Return a parsed request, and the REQUIRED fields that it lacks.

    The types of its `Any` messages that are not known yet are looked up. `path` is the argument
    that has the request's JSON, or empty if all arguments together have it. `also` is as for
    `StartRequest`.
    """
    looked_up: set[str] = set()
    while True:
        request = _empty_request(backend, method)
        try:
            absent = parse(value, request, backend.registry.types, path, also)
        except UnknownTypesError as error:
            names = error.names - looked_up
            if not names:
                raise
            looked_up |= names
            await backend.registry.complete(partial(_unknown, names))
        else:
            return request, absent


def _unknown(names: Iterable[str], types: TypeSet) -> list[str]:
    return [name for name in names if not types.has(name)]


def _empty_request(backend: Backend, method: Method) -> Message:
    name = method.request.full_name
    message_class = backend.registry.types.message_class(name)
    if message_class is None:
        raise status_error(
            Code.FAILED_PRECONDITION,
            f"backend {backend.name!r} no longer has descriptors of {name}",
            "METHOD_UNKNOWN",
            metadata={"method": method.path, "type": name},
            backend=backend.name,
        )
    return message_class()


def _in_value(arguments: Mapping[str, Any], also: Sequence[str]) -> Any:
    """Return the JSON of a request whose ProtoJSON is not an object, such as a Timestamp.

    The caller passes it as the argument `value`.
    """
    if unknown := next((name for name in arguments if name != "value"), ""):
        raise unknown_argument(unknown, ["value", *also])
    if "value" not in arguments:
        raise required(["value"])
    return arguments["value"]


def _fill_request_id(method: Method, request: Any) -> str | None:
    """Put a UUID into an empty idempotency key, and return the UUID.

    Returns None if the method has no such key, or if the request already has a value for it.
    """
    key = method.idempotency_key
    if key is None or value_of(request, key) is not None:
        return None
    request_id = str(uuid.uuid4())
    setattr(request, key.name, request_id)
    return request_id

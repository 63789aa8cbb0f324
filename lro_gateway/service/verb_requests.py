"""The requests of the five verbs. All faces parse them from ProtoJSON in the same way.

`also` of a parser are the names of further arguments, which the face has taken out. The error for
an unknown argument lists them too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from google.longrunning import operations_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors.choices import choices, no_such_field
from lro_gateway.descriptors.field_names import fields_by_key
from lro_gateway.descriptors.scalars import scalar, shown
from lro_gateway.descriptors.well_known_values import expected_value, set_scalar
from lro_gateway.errors import StatusError, invalid_argument, quote
from lro_gateway.operations.operation import State
from lro_gateway.service.catalog import Offer
from lro_gateway.service.page_sizes import negative_page_size, whole

STATES: Final = tuple(state.value for state in State)
"""The values of the argument `state`."""
_NAME_FIELDS: Final = frozenset({"name", "backend"})
_LONGEST_SHOWN: Final = 120
_INT32_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class NameRequest:
    """A request to get, cancel or delete an operation.

    `backend` may be empty if the name alone selects one backend. `confirmed` is true if a person
    has agreed to the call.
    """

    name: str
    backend: str = ""
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class WaitRequest:
    """A request to wait for an operation. If `timeout` is None, the gateway chooses it."""

    name: str
    timeout: timedelta | None = None
    backend: str = ""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A request to call an offered method with ProtoJSON arguments.

    `backend` is needed if several backends offer the method, and no resource name in the arguments
    selects one. `confirmed` is true if a person has agreed to the call. `by_library` is true if a
    client of the service itself may have made the arguments. `also` are the names of further
    arguments, which the face has taken out. The error for an unknown argument lists them too.
    `idempotency_key` is None if the caller gave none.
    """

    offer: Offer
    arguments: Mapping[str, Any]
    backend: str = ""
    confirmed: bool = False
    by_library: bool = False
    also: Sequence[str] = ()
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A request to list operations of a parent or collection, on one backend or on all.

    If `state` is not None, only the operations in this state are listed. With `skips_listless` a
    list of several backends leaves out those that do not implement ListOperations.
    """

    name: str = ""
    filter: str = ""
    page_size: int = 0
    page_token: str = ""
    return_partial_success: bool = False
    backend: str = ""
    state: State | None = None
    skips_listless: bool = False


def parse_get(arguments: Mapping[str, Any], also: Sequence[str] = ()) -> NameRequest:
    """Parse a GetOperationRequest and `backend`. Raise INVALID_ARGUMENT for a wrong field."""
    return _parse_name(operations_pb2.GetOperationRequest, arguments, also)


def parse_cancel(arguments: Mapping[str, Any], also: Sequence[str] = ()) -> NameRequest:
    """Parse a CancelOperationRequest and `backend`. Raise INVALID_ARGUMENT for a wrong field."""
    return _parse_name(operations_pb2.CancelOperationRequest, arguments, also)


def parse_delete(arguments: Mapping[str, Any], also: Sequence[str] = ()) -> NameRequest:
    """Parse a DeleteOperationRequest and `backend`. Raise INVALID_ARGUMENT for a wrong field."""
    return _parse_name(operations_pb2.DeleteOperationRequest, arguments, also)


def parse_wait(arguments: Mapping[str, Any], also: Sequence[str] = ()) -> WaitRequest:
    """Parse a WaitOperationRequest and `backend`.

    Raises INVALID_ARGUMENT for a wrong field, such as a negative timeout.
    """
    message, backend = _parse(operations_pb2.WaitOperationRequest, arguments, also)
    if not message.HasField("timeout"):
        return WaitRequest(message.name, None, backend)
    timeout = message.timeout.ToTimedelta()
    if timeout < timedelta(0):
        raise invalid_argument("timeout", "must not be negative")
    return WaitRequest(message.name, timeout, backend)


def parse_list(arguments: Mapping[str, Any], also: Sequence[str] = ()) -> ListRequest:
    """Parse a ListOperationsRequest, `backend` and `state`. Raise INVALID_ARGUMENT if one is wrong.

    A page size beyond int32 is reduced to the largest int32, and a negative one is refused
    (AIP-158).
    """
    others = _coerced(arguments)
    state = _state(others.pop("state", None))
    message, backend = _parse(operations_pb2.ListOperationsRequest, others, ("state", *also))
    if message.page_size < 0:
        raise negative_page_size()
    return ListRequest(
        message.name,
        message.filter,
        message.page_size,
        message.page_token,
        message.return_partial_success,
        backend,
        state,
    )


def _state(value: Any) -> State | None:
    if value is None or value == "":  # These are the field's default.
        return None
    try:
        return State(value)
    except ValueError:
        problem = f"one of {choices(STATES, value)} is needed, not {shown(value)}"
        raise invalid_argument("state", problem) from None


def _parse_name(
    message_class: type[Any], arguments: Mapping[str, Any], also: Sequence[str]
) -> NameRequest:
    name, backend = arguments.get("name"), arguments.get("backend", "")
    if isinstance(name, str) and isinstance(backend, str) and arguments.keys() <= _NAME_FIELDS:
        # Nearly every call has only these two strings, which need no parser.
        return NameRequest(name, backend)
    message, backend = _parse(message_class, arguments, also)
    return NameRequest(message.name, backend)


def _parse(
    message_class: type[Any], arguments: Mapping[str, Any], also: Sequence[str]
) -> tuple[Any, str]:
    """Parse one argument at a time, so that an error names the argument that caused it."""
    message = message_class()
    backend = ""
    fields = fields_by_key(message.DESCRIPTOR)
    seen: set[str] = set()
    for argument, value in arguments.items():
        if argument == "backend":
            backend = _backend(value)
            continue
        if argument not in fields:
            names = [field.json_name for field in message.DESCRIPTOR.fields]
            raise unknown_argument(argument, [*names, "backend", *also])
        field = fields[argument]
        if field.name in seen:
            raise invalid_argument(
                argument, "is given twice, in camelCase and in snake_case; give it once"
            )
        seen.add(field.name)
        _set(message, field, argument, value)
    return message, backend


def unknown_argument(argument: str, known: Iterable[str]) -> StatusError:
    """Return the error for an argument that does not exist, with those that do."""
    is_shown = argument.isprintable() and len(argument) <= _LONGEST_SHOWN
    name = argument if is_shown else quote(argument, _LONGEST_SHOWN)
    return invalid_argument(name, no_such_field(known, argument), "UNKNOWN_FIELD")


def _backend(value: Any) -> str:
    if value is None:  # ProtoJSON reads null as the field's default.
        return ""
    if not isinstance(value, str):
        raise invalid_argument("backend", f"a string is needed, not {shown(value)}")
    return value


def _set(message: Message, field: FieldDescriptor, argument: str, value: Any) -> None:
    if value is None:  # ProtoJSON reads null as the field's default.
        return
    try:
        if field.message_type is None:
            setattr(message, field.name, scalar(field, value))
        else:
            set_scalar(getattr(message, field.name), value)
    except ValueError as error:
        problem = f"{expected_value(field, value)} is needed, not {shown(value)}"
        raise invalid_argument(argument, problem) from error


def _coerced(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a page size above int32 by the largest int32, and a negative one by -1."""
    coerced = dict(arguments)
    for argument in ("pageSize", "page_size"):
        if (size := whole(arguments.get(argument))) is not None:
            coerced[argument] = max(-1, min(size, _INT32_MAX))
    return coerced

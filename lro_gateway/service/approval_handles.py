"""A call that waits for an approval as a google.longrunning.Operation, whose metadata tells of it.

The metadata is a `lro_gateway.approvals.v1.ApprovalMetadata`. Its file is made here, because only
the gateway itself ever writes such a message.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import Any, Final

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.rpc import error_details_pb2

from lro_gateway.descriptors.printing import to_json
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import DOMAIN, JSON, Code, quoted_text
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.records.approval import UNDECIDED, Approval, ApprovalState

_NAME: Final = re.compile(r"approvals/([0-9a-f]{32})\Z")
_PACKAGE: Final = "lro_gateway.approvals.v1"
METADATA: Final = f"{_PACKAGE}.ApprovalMetadata"
"""The full name of the type of the metadata."""


def _field(name: str, number: int, type_name: str = "") -> FieldDescriptorProto:
    field = FieldDescriptorProto(
        name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    field.type = FieldDescriptorProto.TYPE_STRING
    if type_name:
        is_enum = type_name.endswith(".State")
        kind = FieldDescriptorProto.TYPE_ENUM if is_enum else FieldDescriptorProto.TYPE_MESSAGE
        field.type, field.type_name = kind, f".{type_name}"
    return field


def _message(name: str, *fields: tuple[str, str]) -> DescriptorProto:
    numbered = [_field(each, number, kind) for number, (each, kind) in enumerate(fields, 1)]
    return DescriptorProto(name=name, field=numbered)


_STATES: Final = EnumDescriptorProto(
    name="State",
    value=[
        EnumValueDescriptorProto(name=name, number=number)
        for number, name in enumerate(["STATE_UNSPECIFIED", *(each.name for each in ApprovalState)])
    ],
)
_TIME: Final = "google.protobuf.Timestamp"
_PERSON: Final = f"{_PACKAGE}.Caller"
FILE: Final = FileDescriptorProto(
    name="lro_gateway/approvals/v1/approvals.proto",
    package=_PACKAGE,
    syntax="proto3",
    dependency=["google/protobuf/struct.proto", "google/protobuf/timestamp.proto"],
    enum_type=[_STATES],
    message_type=[
        _message("Caller", ("issuer", ""), ("subject", ""), ("tenant", ""), ("client", "")),
        _message(
            "ApprovalMetadata",
            ("state", f"{_PACKAGE}.State"),
            ("status_message", ""),
            ("backend", ""),
            ("method", ""),
            ("request", "google.protobuf.Struct"),
            ("requester", _PERSON),
            ("create_time", _TIME),
            ("expire_time", _TIME),
            ("decide_time", _TIME),
            ("decider", _PERSON),
            ("reason", ""),
            ("operation", ""),
        ),
    ],
)
"""The file with the type of the metadata."""


def id_of(name: str) -> str:
    """Return the id in the name of a handle, or an empty text for any other name."""
    found = _NAME.match(name)
    return found[1] if found else ""


def name_of(id_: str) -> GatewayName:
    """Return the name of a handle."""
    return GatewayName(f"approvals/{id_}")


def handle_types() -> TypeSet:
    """Return the types of a handle whose outcome is of the gateway's own making."""
    types, details = TypeSet(), FileDescriptorProto()
    error_details_pb2.DESCRIPTOR.CopyToProto(details)
    types.add([details, FILE])
    return types


def is_backends(outcome: Any) -> bool:
    """Return whether the outcome of a call, as an Operation, has messages of the backend's types.

    The first detail of each error that the gateway makes is an ErrorInfo of its domain.
    """
    if outcome is None or not outcome.HasField("error"):
        return outcome is not None
    info = error_details_pb2.ErrorInfo()
    details = outcome.error.details
    return not (details and details[0].Unpack(info) and info.domain == DOMAIN)


def handle(approval: Approval, request: JSON | None, outcome: Any, types: TypeSet) -> Operation:
    """Return a call as an operation.

    `request` is the ProtoJSON of the call's request, or None if it cannot be read. `outcome` is an
    Operation with the result of the call, or None if it has none. `types` are those of
    `handle_types`, or those of the backend, to which this adds the type of the metadata. The
    operation is done once nothing more happens to the call. If the call has started an operation,
    the metadata names it.
    """
    types.add([FILE])
    proto = operations_pb2.Operation(name=name_of(approval.id))
    proto.metadata.Pack(_metadata(approval, request, types), deterministic=True)
    if approval.state not in UNDECIDED:
        proto.done = True
        _add_result(proto, approval, outcome)
    created = approval.asked.created.timestamp()
    name, backend = GatewayName(proto.name), approval.asked.backend
    return Operation(backend, name, proto, types, time.time(), created)


def entry_of(operation: Operation) -> JSON:
    """Return the metadata of a handle as JSON, with its name."""
    metadata: Any = operation.metadata
    printed = to_json(metadata, operation.types)
    return {"name": operation.name, **printed}


def is_handle(operation: Operation) -> bool:
    """Return whether an operation is the handle of a call that needs an approval."""
    return bool(id_of(operation.name)) and operation.proto.metadata.type_url.endswith(
        f"/{METADATA}"
    )


def is_pending(operation: Operation) -> bool:
    """Return whether an operation is the handle of a call that waits for its approval."""
    if operation.done or not is_handle(operation):
        return False
    metadata: Any = operation.metadata
    return bool(metadata.state == _number(ApprovalState.PENDING))


def _number(state: ApprovalState) -> int:
    return [*ApprovalState].index(state) + 1


def _metadata(approval: Approval, request: JSON | None, types: TypeSet) -> Any:
    kind = types.message_class(METADATA)
    if kind is None:
        raise AssertionError("unreachable, because the type was added before")
    asked, metadata = approval.asked, kind()
    message: Any = metadata
    message.state = _number(approval.state)
    message.status_message = status_of(approval)
    message.backend, message.method = asked.backend, asked.method
    if request is not None:
        message.request.ParseFromString(_struct(request))
    _set_caller(message.requester, asked.caller)
    _set_time(message.create_time, asked.created)
    _set_time(message.expire_time, asked.expires)
    if approval.decided is not None and approval.decider is not None:
        _set_time(message.decide_time, approval.decided)
        _set_caller(message.decider, approval.decider)
    message.reason, message.operation = approval.reason, approval.operation
    return metadata


def _struct(request: JSON) -> bytes:
    struct = struct_pb2.Struct()
    struct.update(request)
    return struct.SerializeToString(deterministic=True)


def _set_caller(message: Any, caller: Principal) -> None:
    message.issuer, message.subject, message.tenant = caller.identity
    message.client = caller.client
    message.SetInParent()


def _set_time(message: Any, moment: dt.datetime) -> None:
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(moment)
    message.ParseFromString(stamp.SerializeToString())
    message.SetInParent()


_STATUSES: Final = {
    ApprovalState.PENDING: "It is not called yet. It waits for an approval until {until}.",
    ApprovalState.APPROVED: (
        "It was approved{by}{because}. It starts now, or when its caller reads it with valid"
        " credentials before {until}."
    ),
    ApprovalState.STARTING: "It was approved{by}{because}. It starts now.",
    ApprovalState.STARTED: "It was approved{by}{because}, and {what}.",
    ApprovalState.FAILED: "It was approved{by}{because}, but the call failed.",
    ApprovalState.REFUSED: "It was refused{by}{because}. It was not called.",
    ApprovalState.CANCELLED: "The caller that asked has cancelled it. It was not called.",
    ApprovalState.EXPIRED: (
        "It has expired, because it was not approved and started before {until}. It was not called."
    ),
    ApprovalState.UNKNOWN: (
        "It was approved{by}{because}. It may have begun, because the backend has not answered, or"
        " the gateway ended before the answer. The gateway does not call it again. List the"
        " operations before you ask again."
    ),
}


def status_of(approval: Approval) -> str:
    """Return in a sentence what has become of a call, and what happens next."""
    return _STATUSES[approval.state].format(
        until=approval.asked.expires.isoformat(timespec="seconds").replace("+00:00", "Z"),
        by=f" by {approval.decider}" if approval.decider is not None else "",
        because=f": {quoted_text(approval.reason)}" if approval.reason else "",
        what=f"has started {approval.operation}" if approval.operation else "has been called",
    )


_CODES: Final = {
    ApprovalState.REFUSED: Code.PERMISSION_DENIED,
    ApprovalState.CANCELLED: Code.CANCELLED,
    ApprovalState.EXPIRED: Code.DEADLINE_EXCEEDED,
}
"""The codes of the errors of calls that were not made. For a call without an answer: UNKNOWN."""


def _add_result(proto: Any, approval: Approval, outcome: Any) -> None:
    """Add the response of a plain method, or the error of a call that failed or was not made."""
    if outcome is not None and outcome.HasField("error"):
        proto.error.CopyFrom(outcome.error)
    elif outcome is not None:
        proto.response.CopyFrom(outcome.response)
    elif approval.state is ApprovalState.STARTED:
        # The operation that it started has the result, and its own name.
        proto.response.Pack(empty_pb2.Empty())
    else:
        proto.error.code = _CODES.get(approval.state, Code.UNKNOWN)
        proto.error.message = status_of(approval)

"""Errors in the form of AIP-193: each is a `google.rpc.Status` with an `ErrorInfo`."""

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

DOMAIN = "demo.lro-gateway.dev"


class RefusedError(Exception):
    """The server refuses a request, or ends an operation, with this status."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status: Message = status


def refused(
    code: int, message: str, reason: str, *details: Message, **metadata: str
) -> RefusedError:
    """Return an error whose first detail is an `ErrorInfo` with `reason` and `metadata`."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)
    status = status_pb2.Status(code=code, message=message)
    for detail in (info, *details):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return RefusedError(status)


def invalid(field: str, description: str, reason: str = "INVALID_FIELD") -> RefusedError:
    """Return INVALID_ARGUMENT with a `BadRequest` that names the field."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
    return refused(
        code_pb2.INVALID_ARGUMENT,
        f"{field}: {description}",
        reason,
        error_details_pb2.BadRequest(field_violations=[violation]),
        field=field,
    )


def not_found(kind: str, name: str) -> RefusedError:
    """Return NOT_FOUND for a resource of this kind."""
    return refused(
        code_pb2.NOT_FOUND,
        f"{kind} {name!r} does not exist",
        f"{kind.upper()}_NOT_FOUND",
        name=name,
    )


def already_exists(kind: str, name: str) -> RefusedError:
    """Return ALREADY_EXISTS for a resource of this kind."""
    return refused(
        code_pb2.ALREADY_EXISTS,
        f"{kind} {name!r} already exists",
        f"{kind.upper()}_ALREADY_EXISTS",
        name=name,
    )

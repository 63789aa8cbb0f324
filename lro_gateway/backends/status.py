"""Conversion of failed gRPC calls to `StatusError`, with the backend's or the gateway's error."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import Final

import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from lro_gateway.backends.channel import Channel, Endpoint
from lro_gateway.backends.connections import connection_failure
from lro_gateway.backends.grpc_failures import Failure
from lro_gateway.descriptors.anys import unresolved
from lro_gateway.descriptors.elements import Capacity
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.errors import Code, StatusError, plain, quote, quoted_text, status_error
from lro_gateway.operations.operation import BackendStatusError

logger: Final = logging.getLogger(__name__)

_TOO_MANY_DETAILS: Final = (
    "backend %s: the details of an error are left out, because they have more than %d elements, the"
    " limit of max_message_elements"
)
_DETAILS_KEY: Final = "grpc-status-details-bin"
# gRPC makes this error text if an answer is too large for the gateway. If a message is too large
# for a server, the text begins with SERVER instead of CLIENT.
_TOO_LARGE: Final = re.compile(r"CLIENT: Received message larger than max \((\d+) vs\. (\d+)\)")
# gRPC makes this error text if the headers or trailers of an answer are too large for the gateway,
# or those of a request for a server. Then gRPC drops the message of the answer too.
_METADATA_TOO_LARGE: Final = re.compile(
    r"metadata size exceeds (?:soft|hard) limit \((?:\w+ length )?(\d+) vs\. (\d+)\)"
)
_PROXY_STATUSES: Final = frozenset({429, 502, 503, 504})
_SAYS_NOTHING: Final = frozenset({"", "method not found", "unimplemented", "not implemented"})
"""Texts of UNIMPLEMENTED that say no more than the code."""
_ACCESS_STATUSES: Final = frozenset({401, 403})
# gRPC makes these error texts if it could not connect at all.
_NOT_CONNECTED: Final = re.compile(
    r"failed to connect to all addresses|connections to all backends failing|errors resolving"
)


def gateway_error(
    error: grpc.aio.AioRpcError, rpc: str, endpoint: Endpoint, channel: Channel, *, is_due: bool
) -> StatusError | None:
    """Return the gateway's own error for a failed call, or None if the backend made the error.

    The gateway makes the error if the backend could not be reached, did not answer in time, did not
    answer in gRPC, answered with too large a message or too much metadata, or does not implement
    the RPC. Most servers answer UNIMPLEMENTED with an empty text, so the gateway writes a text.
    `is_due` is true if the deadline of the call has passed.
    """
    if any(key == _DETAILS_KEY for key, _ in error.trailing_metadata() or ()):
        return None
    failure = Failure.of(error)
    late = _late(rpc, endpoint, channel) if failure.is_late and is_due else None
    return (
        late
        or _too_large(failure, rpc, endpoint)
        or _not_grpc(failure, rpc, endpoint)
        or _unreached(failure, rpc, endpoint, channel)
        or _broken(failure, rpc, endpoint)
        or _unimplemented(failure, rpc, endpoint)
    )


def _unreached(
    failure: Failure, rpc: str, endpoint: Endpoint, channel: Channel
) -> StatusError | None:
    """Return the error for a failed connection, or None if the connection has not failed.

    A backend may pass on gRPC's text about a lost connection of its own. The gateway is then
    connected to the backend.
    """
    if failure.code is not grpc.StatusCode.UNAVAILABLE:
        return None
    found = connection_failure(failure.cause, endpoint)
    is_connected = channel.get_state() is grpc.ChannelConnectivity.READY
    if found is None or (is_connected and not failure.is_grpcs):
        return None
    setting = {"setting": found.setting} if found.setting else {}
    return status_error(
        Code.UNAVAILABLE,
        f"backend {endpoint.name!r} at {endpoint.target} cannot be reached: {found}",
        "BACKEND_UNAVAILABLE",
        metadata={"rpc": rpc, "target": endpoint.target} | setting,
        backend=endpoint.name,
    )


def _not_grpc(failure: Failure, rpc: str, endpoint: Endpoint) -> StatusError | None:
    """Return the error for an answer in HTTP, which a proxy or a server without gRPC gives."""
    status = failure.http_status
    if not status:
        return None
    if status in _PROXY_STATUSES:
        cause = "a proxy before the backend cannot reach it, or limits the calls"
    elif status in _ACCESS_STATUSES:
        cause = "a proxy before the backend refuses the gateway; check metadata of this backend"
    else:
        cause = "check that target is a gRPC server"
    return status_error(
        Code.of(failure.code.value[0]),
        f"{_answered(rpc, endpoint)} with HTTP status {status} instead of a gRPC status; {cause}",
        "HTTP_RESPONSE",
        metadata={"rpc": rpc, "target": endpoint.target, "http_status": str(status)},
        backend=endpoint.name,
    )


def _broken(failure: Failure, rpc: str, endpoint: Endpoint) -> StatusError | None:
    """Return the error for a call that ended without a status of the backend."""
    if not failure.is_grpcs:
        return None
    return status_error(
        Code.of(failure.code.value[0]),
        f"the call of {rpc} to backend {endpoint.name!r} at {endpoint.target} ended without a valid"
        f" gRPC status; gRPC reports {quoted_text(failure.cause)}",
        "CALL_BROKEN",
        metadata={"rpc": rpc, "target": endpoint.target, "cause": plain(failure.cause)},
        backend=endpoint.name,
    )


def _unimplemented(failure: Failure, rpc: str, endpoint: Endpoint) -> StatusError | None:
    if failure.code is not grpc.StatusCode.UNIMPLEMENTED:
        return None
    text = failure.cause
    own_text = plain(text).rstrip(".!").lower() not in _SAYS_NOTHING
    reason = f" (the service says: {quoted_text(text)})" if own_text else ""
    return status_error(
        Code.UNIMPLEMENTED,
        f"backend {endpoint.name!r} does not implement {rpc}{reason}",
        "RPC_UNIMPLEMENTED",
        metadata={"rpc": rpc, "target": endpoint.target},
        backend=endpoint.name,
    )


def _late(rpc: str, endpoint: Endpoint, channel: Channel) -> StatusError:
    """Return the error for a deadline that passed before an answer, or before a connection."""
    backend = f"backend {endpoint.name!r} at {endpoint.target}"
    if channel.get_state() is grpc.ChannelConnectivity.READY:
        setting = "deadline"
        text = f"{backend} did not answer {rpc} in time; it may be overloaded"
    else:
        setting = "target"
        text = (
            f"there is no connection to {backend}, and none was made in time for {rpc}; check that"
            " target is right, and that tls is set if the server expects TLS"
        )
    return status_error(
        Code.DEADLINE_EXCEEDED,
        text,
        "BACKEND_DEADLINE_EXCEEDED",
        metadata={"rpc": rpc, "target": endpoint.target, "setting": setting},
        backend=endpoint.name,
    )


def _too_large(failure: Failure, rpc: str, endpoint: Endpoint) -> StatusError | None:
    """Return the error for an answer that is too large, or None if the backend made the error."""
    if failure.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    text = failure.cause
    metadata = {"rpc": rpc, "target": endpoint.target}
    # A backend may pass on this text about an answer to a call of its own.
    size = _TOO_LARGE.fullmatch(text)
    if size and int(size[2]) == endpoint.max_message_bytes:
        return status_error(
            Code.RESOURCE_EXHAUSTED,
            f"{_answered(rpc, endpoint)} with {size[1]} bytes, over the limit of {size[2]};"
            " raise max_message_bytes of this backend",
            "RESPONSE_TOO_LARGE",
            metadata={**metadata, "limit": size[2], "setting": "max_message_bytes"},
            backend=endpoint.name,
        )
    size = _METADATA_TOO_LARGE.search(text)
    # If a request is too large for the backend, the text has the backend's limit.
    if size and int(size[2]) == endpoint.max_metadata_bytes:
        return status_error(
            Code.RESOURCE_EXHAUSTED,
            f"{_answered(rpc, endpoint)} with headers or trailers over the limit of {size[2]}"
            " bytes, so gRPC dropped the answer; raise max_metadata_bytes of this backend",
            "METADATA_TOO_LARGE",
            metadata={**metadata, "limit": size[2], "setting": "max_metadata_bytes"},
            backend=endpoint.name,
        )
    return None


def was_never_sent(error: grpc.aio.AioRpcError, connection: grpc.ChannelConnectivity) -> bool:
    """Return whether a failed call certainly did not reach the backend.

    `connection` is the state of the channel right after the failure. A backend may send gRPC's text
    about a connection of its own, but then the gateway is connected to the backend.
    """
    return (
        error.code() is grpc.StatusCode.UNAVAILABLE
        and connection is grpc.ChannelConnectivity.TRANSIENT_FAILURE
        and _NOT_CONNECTED.search(error.details() or "") is not None
    )


async def backend_error(
    error: grpc.aio.AioRpcError, endpoint: Endpoint, registry: TypeRegistry
) -> BackendStatusError:
    """Look up the types of an error's details, and return the error as the backend's own.

    Details with more elements than the gateway reads are left out.
    """
    capacity = registry.types.capacity
    status = await _sent_status(error, endpoint, capacity)
    size = status.ByteSize()
    try:
        types = await registry.complete(lambda types: unresolved(status, types), size)
    except Exception:
        # The caller must get the backend's error, with unreadable details.
        logger.exception("backend %s: the types of an error could not be looked up", endpoint.name)
        types = registry.types
    failure = BackendStatusError(status, backend=endpoint.name, types=types)
    if status.details:
        # The details are printed now, because many of them are printed in the thread.
        await capacity.run(size, failure.details_json)
    return failure


async def _sent_status(
    error: grpc.aio.AioRpcError, endpoint: Endpoint, capacity: Capacity
) -> status_pb2.Status:
    code: int = error.code().value[0]
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            exceeds = partial(capacity.exceeds, value, status_pb2.Status.DESCRIPTOR)
            if await capacity.run(len(value), exceeds):
                logger.warning(_TOO_MANY_DETAILS, endpoint.name, capacity.max_elements)
                break
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            # If the code of this Status differs from the code of the failed call, the Status does
            # not describe this failure and is ignored.
            if status.code == code:
                return status
    return status_pb2.Status(code=code, message=error.details() or "")


def too_many_calls(
    rpc: str, endpoint: Endpoint, limit: int, *, is_late: bool, is_share: bool = False
) -> StatusError:
    """Return the error for a call that was not sent, because too many calls of its backend run.

    With `is_share` they are those of one caller.
    """
    setting, owner = (
        ("max_call_share", " of this caller") if is_share else ("max_concurrent_calls", "")
    )
    when = "until the deadline of the call" if is_late else "and the queue for them is full"
    error = status_error(
        Code.DEADLINE_EXCEEDED if is_late else Code.RESOURCE_EXHAUSTED,
        f"{rpc} was not sent to backend {endpoint.name!r} at {endpoint.target}, because {limit}"
        f" calls{owner} ran at the same time {when}; call again later, or raise {setting} of this"
        " backend",
        "TOO_MANY_CALLS",
        metadata={
            "rpc": rpc,
            "target": endpoint.target,
            "limit": str(limit),
            "setting": setting,
        },
        backend=endpoint.name,
    )
    error.unsent = True
    return error


def malformed_response(rpc: str, endpoint: Endpoint) -> StatusError:
    """Return the error for an answer whose bytes are not the message that the RPC returns."""
    return status_error(
        Code.INTERNAL,
        f"{_answered(rpc, endpoint)} with a malformed message",
        "MALFORMED_RESPONSE",
        metadata={"rpc": rpc, "target": endpoint.target},
        backend=endpoint.name,
    )


def too_many_elements(rpc: str, endpoint: Endpoint, limit: int) -> StatusError:
    """Return the error for an answer that has more elements than the gateway reads."""
    return status_error(
        Code.RESOURCE_EXHAUSTED,
        f"{_answered(rpc, endpoint)} with more than {limit} elements, such as fields and items of"
        " lists; raise max_message_elements of this backend",
        "RESPONSE_TOO_LARGE",
        metadata={
            "rpc": rpc,
            "target": endpoint.target,
            "limit": str(limit),
            "setting": "max_message_elements",
        },
        backend=endpoint.name,
    )


def unprintable_response(rpc: str, endpoint: Endpoint, why: str) -> StatusError:
    """Return the error for an answer that cannot be printed as ProtoJSON."""
    return status_error(
        Code.INTERNAL,
        f"{_answered(rpc, endpoint)} with a message that has no JSON form: {why}",
        "UNPRINTABLE_RESPONSE",
        metadata={"rpc": rpc, "target": endpoint.target},
        backend=endpoint.name,
    )


def not_found_yet(operation: str, rpc: str, endpoint: Endpoint) -> StatusError:
    """Return the error for a call about an operation that has begun, and is not found yet."""
    return status_error(
        Code.UNAVAILABLE,
        f"operation {quote(operation, 300)} has just begun, and backend {endpoint.name!r} does not"
        " find it yet; send the same request again in a few seconds",
        "OPERATION_NOT_FOUND_YET",
        metadata={"rpc": rpc, "target": endpoint.target, "operation": operation},
        backend=endpoint.name,
    )


def _answered(rpc: str, endpoint: Endpoint) -> str:
    return f"backend {endpoint.name!r} at {endpoint.target} answered {rpc}"

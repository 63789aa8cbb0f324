"""The request and the outcome of a waiting call, as the store keeps them.

The request has to be sent after the approval, so the store must have it. With the gateway's keys it
is sealed, so that a copy of the database does not tell it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

import orjson
from google.longrunning import operations_pb2

from lro_gateway.access.sealing import Sealer, UnsealError
from lro_gateway.descriptors.printing import to_json
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import JSON, Code, invalid_argument, status_error
from lro_gateway.service.preparing import Prepared

_PURPOSE: Final = "approval"
_SEALED: Final = "sealed:"
_PLAIN: Final = "plain:"
_LARGEST: Final = 256 * 1024
"""The size in bytes of the largest request that can wait."""
_DEEPEST: Final = 24
"""The number of levels of a request's JSON that can be shown to a person who approves it."""


@dataclass(frozen=True, slots=True)
class Request:
    """The request of a waiting call.

    `message` is the request as protobuf bytes, and `shown` is its ProtoJSON. `request_id` is the id
    that the gateway put into it, or empty.
    """

    message: bytes
    request_id: str
    shown: JSON


class Contents:
    """Writes and reads what the store keeps of the contents of waiting calls."""

    def __init__(self, sealer: Sealer) -> None:
        # A key that ends with this process could not open anything after a restart.
        self._sealer = sealer
        self._seals = not sealer.is_ephemeral

    def of_request(self, id_: str, request: Request) -> str:
        """Return the text that keeps the request of the call with this id."""
        content = {
            "message": base64.b64encode(request.message).decode(),
            "requestId": request.request_id,
            "shown": request.shown,
        }
        return self._kept(id_, orjson.dumps(content))

    def request(self, id_: str, kept: str) -> Request:
        """Return the request of a call. Raises FAILED_PRECONDITION without the key to read it."""
        content = orjson.loads(self._read(id_, kept))
        message = base64.b64decode(content["message"])
        return Request(message, content["requestId"], content["shown"])

    def of_outcome(self, id_: str, outcome: bytes) -> str:
        """Return the text that keeps the outcome of the call with this id."""
        return self._kept(id_, outcome)

    def outcome(self, id_: str, kept: str) -> Any:
        """Return the outcome of a call as an Operation, or None if there is none."""
        if not kept:
            return None
        return operations_pb2.Operation.FromString(self._read(id_, kept))

    def _kept(self, id_: str, content: bytes) -> str:
        if self._seals:
            return _SEALED + self._sealer.seal(content, _PURPOSE, (id_,))
        return _PLAIN + base64.b64encode(content).decode()

    def _read(self, id_: str, kept: str) -> bytes:
        if kept.startswith(_PLAIN):
            return base64.b64decode(kept.removeprefix(_PLAIN))
        try:
            return self._sealer.unseal(kept.removeprefix(_SEALED), _PURPOSE, (id_,))
        except UnsealError:
            raise status_error(
                Code.FAILED_PRECONDITION,
                "this gateway has not the key with which the call was sealed; put the key back into"
                " server.keys, or ask for the call again",
                "APPROVAL_UNREADABLE",
            ) from None


def request_of(prepared: Prepared, types: TypeSet) -> Request:
    """Return what the store keeps of a request. Raises an error if it is too large for that."""
    message = prepared.request.SerializePartialToString(deterministic=True)
    if len(message) > _LARGEST:
        problem = f"it has {len(message)} bytes, and at most {_LARGEST} can wait for an approval"
        raise invalid_argument("", problem, "REQUEST_CANNOT_WAIT")
    shown: Any = to_json(prepared.request, types)
    request: JSON = shown if isinstance(shown, dict) else {"value": shown}
    if _is_deeper(request, _DEEPEST):
        problem = f"it nests deeper than {_DEEPEST} levels, so nobody could approve what it says"
        raise invalid_argument("", problem, "REQUEST_CANNOT_WAIT")
    return Request(message, prepared.request_id or "", request)


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)

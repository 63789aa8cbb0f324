"""The journal's part of a start: a row before the call, and its outcome before the answer."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

import orjson

from lro_gateway.access.ownership import Ownership
from lro_gateway.backends.backend import Backend
from lro_gateway.descriptors.elements import size_of
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.printing import to_json
from lro_gateway.errors import Code, StatusError, shown_name, status_error
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.records.entries import Earlier, Journal, Knowledge, Start, now
from lro_gateway.service.preparing import Prepared
from lro_gateway.service.unanswered import UnansweredError, has_no_answer

_ATTEMPTS: Final = 3
_MARGIN: Final = dt.timedelta(seconds=30)
"""The time that a call may take beyond the deadlines of its attempts."""
_LONGEST_REQUEST: Final = 64 * 1024
"""The size in bytes beyond which the journal does not keep a request."""


class KeyClaimedError(StatusError):
    """An earlier start has the idempotency key of a call, which the gateway has not sent."""

    def __init__(self, earlier: Earlier) -> None:
        super().__init__(under_way().status)
        self.earlier = earlier


def under_way() -> StatusError:
    """Return the error of a call that cannot wait longer for another one with the same key."""
    return status_error(
        Code.ABORTED,
        "another call with this idempotency key is under way; repeat the call with the same key",
        "IDEMPOTENCY_KEY_IN_USE",
    )


def longest_call(backend: Backend) -> dt.timedelta:
    """Return the time within which each call of a method has ended, with its repetitions."""
    return _ATTEMPTS * backend.endpoint.deadline + _MARGIN


@dataclass(frozen=True, slots=True)
class Journaling:
    """Records starts in the journal, or does nothing if there is none.

    `requests` are the patterns of the methods whose requests are kept, by backend. `ownership` is
    None if every operation exists for everybody.
    """

    journal: Journal | None = None
    requests: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ownership: Ownership | None = None

    async def begin(self, caller: Principal, backend: Backend, prepared: Prepared) -> Start | None:
        """Record a start before its call, and return it, or None if there is nothing to record.

        Raises UNAVAILABLE if the store does not answer, and `KeyClaimedError` if an earlier start
        has the key. The call must not be made then.
        """
        method, request = prepared.method, prepared.request
        if self.journal is None or not method.is_long_running:
            return None
        start = Start(
            caller,
            backend.name,
            method.path,
            digest_of(method, request, prepared.request_id),
            now() + longest_call(backend),
            self._kept(backend, method, request),
            prepared.key,
        )
        if start.key is None:
            await self.journal.begin(start)
        elif (earlier := await self.journal.claim(start)) is not None:
            raise KeyClaimedError(earlier)
        return start

    async def succeed(self, start: Start | None, operation: Operation | None) -> None:
        """Record the operation that has begun.

        Raises UNAVAILABLE, with the name of the operation, if the store does not answer.
        """
        if self.journal is None or start is None or operation is None:
            return
        if self.ownership is not None:
            self.ownership.note(start.caller, operation.backend, operation.name)
        try:
            await self.journal.settle(start, await Knowledge.of(operation))
        except StatusError as error:
            name = shown_name(operation.name)
            raise status_error(
                Code.UNAVAILABLE,
                f"operation {name} has begun, and is not recorded yet, because {error.message};"
                " do not start it again, but follow it by its name",
                "START_NOT_RECORDED",
                metadata={"operation": operation.name, "backend": operation.backend},
            ) from error

    async def fail(self, start: Start | None, error: StatusError) -> None:
        """Record that the outcome of a call is unknown, or remove a start that was refused."""
        if self.journal is None or start is None:
            return
        if not may_have_begun(error):
            await self.journal.withdraw(start)
            return
        # The journal tries again, and until then the start counts as one that is not answered.
        with suppress(StatusError):
            await self.journal.settle(start, Knowledge.unknown(error))

    def _kept(self, backend: Backend, method: Method, request: Any) -> str | None:
        patterns = self.requests.get(backend.name, ())
        if not any(fnmatchcase(method.path, pattern) for pattern in patterns):
            return None
        if size_of(request) > _LONGEST_REQUEST:
            return None
        return orjson.dumps(to_json(request, backend.registry.types)).decode()


def may_have_begun(error: StatusError) -> bool:
    """Return whether the backend may have begun the work of a call that has failed."""
    if isinstance(error, UnansweredError):
        return error.may_have_begun
    return has_no_answer(error) and not error.unsent


def digest_of(method: Method, request: Any, request_id: str | None) -> str:
    """Return the SHA-256 of the method and of what its caller has requested.

    An id that the gateway has put into the request is left out, because each call gets another one.
    """
    key = method.idempotency_key
    if request_id is not None and key is not None:
        given = type(request)()
        given.CopyFrom(request)
        given.ClearField(key.name)
        request = given
    content = request.SerializePartialToString(deterministic=True)
    return hashlib.sha256(method.path.encode() + b"\x00" + content).hexdigest()

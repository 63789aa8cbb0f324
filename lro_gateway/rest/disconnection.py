"""Ends a request if its client disconnects."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from starlette.types import Scope

from lro_gateway.background import Interruption
from lro_gateway.errors import Code, status_error

_T = TypeVar("_T")

DISCONNECTION: Final = "lro_gateway.disconnection"
"""The key of a scope for the `Disconnection` of its client.

ASGI tells that a client has left only by `receive`, for which each stream would need another task.
Measured: that takes 2 KB.
"""


class Disconnection(Protocol):
    """Tells one function that the client of a request has left."""

    def when_left(self, left: Callable[[], None] | None) -> None:
        """Call this function once the client has left, or no function any more.

        Until then, nothing is kept of what the client may still send of its body.
        """


class UntilLeft(Interruption):
    """A context whose body ends early, and without an error, if the client disconnects.

    Under a server that does not tell it, the body ends when it sends something.
    """

    __slots__ = ("_disconnection",)

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._disconnection: Disconnection | None = scope.get(DISCONNECTION)

    def __enter__(self) -> Self:
        """Let the client end the body."""
        super().__enter__()
        if self._disconnection is not None:
            self._disconnection.when_left(self.interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Let the client end nothing more."""
        if self._disconnection is not None:
            self._disconnection.when_left(None)
        return super().__exit__(kind, error, traceback)


async def unless_disconnected(scope: Scope, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of `work`.

    If the client disconnects first, cancel `work` and raise CANCELLED.
    """
    with UntilLeft(scope):
        return await work
    raise status_error(Code.CANCELLED, "the client disconnected", "CLIENT_DISCONNECTED")

"""Which errors of polls a reader outlasts, and after which pause the gateway polls again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from lro_gateway.errors import Code, StatusError
from lro_gateway.service.polling import jittered

_T = TypeVar("_T")

_OUT_OF_REACH: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})
"""The codes of a backend that was not reached, or that did not answer in time."""
_PASSING: Final = frozenset(
    {Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.ABORTED, Code.UNKNOWN, Code.CANCELLED}
)
"""The codes of answers that say nothing about the operation, and that the next poll may not get."""
_LASTING: Final = frozenset({"RESPONSE_TOO_LARGE"})
"""The reasons of errors with a passing code that the next poll gets again."""
_MAX_FIRST_ANSWERS: Final = 3
_MAX_ANSWERS: Final = 6
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0


class Patience:
    """Decides after each failed poll in a row whether the gateway polls again.

    While the backend is out of reach, the gateway polls for as long as there is a reader. It also
    polls again after an answer with a passing error such as INTERNAL, but the sixth such answer in
    a row, after about 15 seconds, ends the reads. Every other error ends the reads at once.

    If no state is known yet (`knows_state` is False), a backend out of reach ends the reads at
    once, and the third answer with a passing error does so after about 1.5 seconds. Otherwise the
    caller would wait long before it learns of an error that stays.
    """

    __slots__ = ("_knows_state", "_max_answers", "_pause")

    def __init__(self, *, knows_state: bool = True) -> None:
        self._knows_state = knows_state
        self._max_answers = _MAX_ANSWERS if knows_state else _MAX_FIRST_ANSWERS
        self._pause = _FIRST_PAUSE

    def pause_after(self, error: StatusError) -> float:
        """Return the seconds until the next poll. Raise the error if it ends the reads."""
        if not (is_out_of_reach(error) and self._knows_state):
            self._max_answers -= 1
            lasts = error.code not in _PASSING or error.reason in _LASTING
            if lasts or not self._max_answers:
                raise error
        pause = self._pause
        self._pause = min(2 * pause, _LONGEST_PAUSE)
        return jittered(pause)


def is_out_of_reach(error: StatusError) -> bool:
    """Return whether an error means that the backend was not reached or did not answer in time."""
    return error.code in _OUT_OF_REACH


async def first_read(read: Callable[[], Awaitable[_T]]) -> _T:
    """Read a state of which no earlier state is known; repeat the read after a passing error."""
    patience = Patience(knows_state=False)
    while True:
        try:
            return await read()
        except StatusError as error:
            pause = patience.pause_after(error)
        await asyncio.sleep(pause)

"""Signals: which of them stop a process that serves, and the limit of a stop."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import multiprocessing
import os
import select
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final

from lro_gateway.gateway import CALLS_GRACE
from lro_gateway.serving.http import SHUTDOWN_GRACE

logger: Final = logging.getLogger(__name__)

STOP_LIMIT: Final = SHUTDOWN_GRACE + CALLS_GRACE.total_seconds() + 5.0
"""Seconds that a process may take to stop before it is ended by force.

It first ends its requests, then its calls of backends.
"""
_AGAIN: Final = 0.5
"""Seconds after the first Ctrl-C in which a second one counts as the same.

Some programs that start others pass on a signal which the terminal has already sent to all of them.
"""
_HANGUP: Final = (
    "SIGHUP is ignored, because the gateway reads its configuration only when it starts: restart"
    " the gateway to read it again"
)


def stop_on_signals(limit: float = STOP_LIMIT) -> asyncio.Event:
    """Return an event that SIGTERM or Ctrl-C sets. Call this before anything else starts.

    The process then ends within `limit` seconds, whatever hangs. A second Ctrl-C ends it and its
    child processes at once. The signals keep this meaning until the process ends.
    """
    stopping = _Stopping(asyncio.get_running_loop(), limit)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopping)
    ignore_hangup()
    return stopping.event


def ignore_hangup() -> None:
    """Log SIGHUP and go on, because operators send it to make programs read their settings."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, logger.warning, _HANGUP)


def end_within(limit: float) -> None:
    """End this process with status 1 after `limit` seconds, unless it has ended by then."""
    # faulthandler waits in a thread that needs no lock of Python. So this works although a thread
    # of the process hangs in code that never gives up the lock, or in a log that nobody reads.
    faulthandler.dump_traceback_later(limit, exit=True, file=Path(os.devnull).open("wb"))  # noqa: SIM115 - open until the process ends


def end_after_stdin(limit: float = STOP_LIMIT) -> None:
    """End this process `limit` seconds after its client has closed stdin, whatever hangs.

    For example, a client may close stdin and read stdout no more.
    """
    # The MCP SDK puts another file in the place of stdin, so wait for a copy of it.
    stdin = os.dup(0)

    def wait() -> None:
        poll = select.poll()
        # Without a mask of events, the poll ends only when the other end is closed.
        poll.register(stdin, 0)
        poll.poll()
        end_within(limit)

    threading.Thread(target=wait, daemon=True).start()


class _Stopping:
    """A handler of signals that can run although the event loop hangs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float) -> None:
        self.event = asyncio.Event()
        self._loop = loop
        self._limit = limit
        self._began: float | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Begin the stop, or end the process if a person asks for the second time."""
        if self._began is None:
            self._began = time.monotonic()
            end_within(self._limit)
            self._loop.call_soon_threadsafe(self.event.set)
        elif number == signal.SIGINT and time.monotonic() - self._began > _AGAIN:
            for child in multiprocessing.active_children():
                child.kill()
                child.join(_AGAIN)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

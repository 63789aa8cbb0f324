"""Resolves the names of receivers, also while the servers of other names do not answer."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from threading import Thread
from typing import Any, Final

_MOST: Final = 64
"""The number of names that are resolved at a time."""


class Resolver:
    """Resolves each name in a thread of its own.

    uvloop has four threads for all names, so a few names whose servers never answer would delay all
    receivers. The end of the process waits for none of these threads.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_MOST)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host. Raises `OSError` or `UnicodeError` if it has none."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Any] = loop.create_future()

        def end(infos: Any, error: Exception | None) -> None:
            self._places.release()
            if found.done():  # nobody waits any more
                return
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(infos)

        def resolve() -> None:
            infos, failure = None, None
            try:
                infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                failure = error
            with suppress(RuntimeError):  # the loop may be closed
                loop.call_soon_threadsafe(end, infos, failure)

        Thread(target=resolve, name="resolver", daemon=True).start()
        return list(dict.fromkeys(str(info[4][0]).partition("%")[0] for info in await found))

"""A channel with TLS that uses new certificates and keys when their files change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Self

import grpc
import grpc.aio

from lro_gateway.backends.reloading import INTERVAL, Reloaded
from lro_gateway.backends.tls_files import Tls, TlsContents

_LONGEST_CALL: Final = 3700.0
"""Seconds that calls of an old channel may take to end. The longest deadline is an hour."""


class TlsChannel(grpc.aio.Channel):
    """A channel that is replaced by a new one when the files of TLS have changed.

    gRPC reads the credentials of a channel only once. Calls that run at the time of the change end
    on the old channel.
    """

    def __init__(
        self, backend: str, tls: Tls, connect: Callable[[TlsContents], grpc.aio.Channel]
    ) -> None:
        """Open the first channel. Raises `ValueError` if a file cannot be used."""
        files = Reloaded(f"backend {backend}", tls.files, partial(TlsContents.read, tls))
        self._files = files
        self._connect = connect
        self._draining: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self.current = connect(files.current)

    async def keep_current(self) -> None:
        """Look at the files again and again, and use new ones."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.refresh()

    async def refresh(self) -> None:
        """Use the files if they have changed. The present ones stay if the new ones are broken."""
        if not await self._files.refresh():
            return
        old, self.current = self.current, self._connect(self._files.current)
        task = asyncio.create_task(old.close(_LONGEST_CALL))
        self._draining[task] = old
        task.add_done_callback(self._draining.pop)

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        """Return calls of a unary RPC, each of which uses the current channel."""
        return _Calls(self, "unary_unary", args, options)

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        """Return calls of a server-streaming RPC, each of which uses the current channel."""
        return _Calls(self, "unary_stream", args, options)

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        """Return calls of a client-streaming RPC, each of which uses the current channel."""
        return _Calls(self, "stream_unary", args, options)

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        """Return calls of a bidirectional RPC, each of which uses the current channel."""
        return _Calls(self, "stream_stream", args, options)

    async def close(self, grace: float | None = None) -> None:
        """Close the current channel and the old ones."""
        draining = {**self._draining}
        for task in draining:
            task.cancel()
        await asyncio.gather(*draining, return_exceptions=True)
        for old in draining.values():
            await old.close(None)
        await self.current.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the current channel."""
        return self.current.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the current channel has another state."""
        await self.current.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the current channel is connected."""
        await self.current.channel_ready()

    async def __aenter__(self) -> Self:
        """Return this channel."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the channel."""
        await self.close()


class _Calls:
    """Makes the calls of one RPC."""

    def __init__(
        self, channel: TlsChannel, kind: str, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._args = args
        self._options = options
        self._of: grpc.aio.Channel | None = None
        self._make: Any = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        current = self._channel.current
        if self._of is not current:
            self._make = getattr(current, self._kind)(*self._args, **self._options)
            self._of = current
        return self._make(*args, **options)

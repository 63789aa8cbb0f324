"""A gateway that one command opens for itself, in front of backends, at a socket of its own."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx2
from pydantic import SecretBytes

from lro_gateway.access.sealing import MIN_KEY
from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.config.loading import ConfigError, load
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http
from lro_gateway.serving.scratch import scratch_directory

_LONGEST: Final = 90
"""Bytes of the path of a directory. The address of a socket has room for 100 bytes."""


@asynccontextmanager
async def private_gateway(
    targets: Sequence[str],
) -> AsyncIterator[tuple[httpx2.AsyncBaseTransport, str]]:
    """Yield a transport to a gateway in front of these backends, and the words that name it.

    The gateway listens at a Unix socket in a directory that only this user can enter.
    """
    try:
        loaded = load(None, list(targets), {})
    except ConfigError as error:
        raise CommandError("; ".join(error.mistakes)) from error
    # The command itself tells what fails. Without a handler, Python would print warnings too.
    logging.basicConfig(handlers=[logging.NullHandler()])
    server = loaded.server.model_copy(update={"keys": (SecretBytes(os.urandom(MIN_KEY)),)})
    config = loaded.model_copy(update={"server": server})
    with scratch_directory(_LONGEST) as directory:
        path = str(directory / "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen()
            async with Gateway.open(config) as gateway, serve_http(gateway, listener):
                yield httpx2.AsyncHTTPTransport(uds=path), " and ".join(targets)

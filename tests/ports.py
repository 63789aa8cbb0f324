"""Ports at which nothing listens."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_LOWEST: Final = 10_000
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()
_PROCESSES: Final = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_PROCESS: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
"""The number of the processes that share the tests, and which of them this one is."""


def _first_of_the_system() -> int:
    """Return the first port of those that the system chooses itself."""
    return int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768


def unused_port() -> int:
    """Return a port of loopback at which no process listens.

    The system gives it to nobody else meanwhile, as it could do with a port that it has chosen. No
    other process of the tests gets it either.
    """
    while True:
        port = random.randrange(_LOWEST, max(_first_of_the_system(), _LOWEST + 1000))  # noqa: S311 - no secret
        if port in _given or port % _PROCESSES != _PROCESS:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def unused_address() -> str:
    """Return an address of loopback at which no process listens."""
    return f"127.0.0.1:{unused_port()}"

"""Keeps the memory of the process small: drops old states, and returns freed memory."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Iterable
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.service.reads import Reads

_INTERVAL: Final = 5.0
"""Seconds between two sweeps."""
_MUCH: Final = 2**20
"""The number of bytes of dropped states that are worth the time to return them."""
_MMAP_THRESHOLD: Final = -3
"""The number of glibc's parameter M_MMAP_THRESHOLD."""
_YOUNG: Final = 1
"""The oldest generation of the garbage collector that is quickly collected."""
_LARGE_BLOCK: Final = 256 * 1024
"""The size in bytes from which a block of memory is returned to the system when it is freed."""


async def sweep(reads: Reads, backends: Iterable[Backend]) -> None:
    """Drop the states that are no longer needed, again and again.

    After large messages, and after many states were dropped, return freed memory to the system.
    """
    backends = tuple(backends)
    libc = _glibc()
    if libc is not None:
        # Without this, glibc no longer maps large blocks one by one after the first one was freed,
        # and each thread keeps tens of megabytes. Measured: 60 MB stayed in the process.
        libc.mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)
    while True:
        await asyncio.sleep(_INTERVAL)
        before = reads.memory
        reads.sweep()
        for backend in backends:
            backend.sweep()
        was_used = [backend.registry.types.capacity.was_used() for backend in backends]
        if any(was_used):
            # A call of gRPC is a reference cycle that holds its answer. It has not grown old yet.
            gc.collect(_YOUNG)
        is_freed = any(was_used) or before - reads.memory > _MUCH
        if is_freed and libc is not None:
            await asyncio.to_thread(libc.malloc_trim, 0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library, or None if it has not the functions of glibc."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None

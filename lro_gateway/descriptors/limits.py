"""The limits of what the gateway reads of a backend's descriptors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DescriptorLimits:
    """How many files, services and methods of one backend the gateway reads.

    `size` is the total size of the files in bytes. `wait` is how many seconds callers wait for the
    first look-up of the backend's methods. After that time the gateway offers the methods that it
    knows, and the look-up goes on.
    """

    files: int = 20_000
    services: int = 5_000
    methods: int = 20_000
    size: int = 64 * 1024 * 1024
    wait: float = 5.0

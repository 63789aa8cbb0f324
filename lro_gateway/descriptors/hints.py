"""Hints: whether a method only reads, whether it may destroy, and whether a repeat is harmless."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hints:
    """The effects of a method, in the terms of MCP's tool annotations.

    `reads` is true if the method changes nothing. `destroys` is true if it may change or delete
    existing data, and None if the gateway does not know; clients read None as true. `idempotent` is
    true if a second call with the same arguments has no further effect.
    """

    reads: bool
    destroys: bool | None
    idempotent: bool


def most_cautious(hints: Iterable[Hints]) -> Hints:
    """Return hints that are true on every backend, because a caller may choose any backend."""
    each = tuple(hints)
    destroys = {hint.destroys for hint in each}
    return Hints(
        all(hint.reads for hint in each),
        True if True in destroys else None if None in destroys else False,
        all(hint.idempotent for hint in each),
    )

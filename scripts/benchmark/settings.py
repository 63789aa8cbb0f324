"""How much a run measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`seconds` is how long each contender is measured in each round."""

    rounds: int
    seconds: float
    connections: tuple[int, ...] = (1, 16, 64)
    starts: int = 5
    memory_requests: int = 1_000
    listings: int = 3


QUICK = Settings(
    rounds=1, seconds=0.2, connections=(1, 4), starts=1, memory_requests=100, listings=1
)
"""A smoke run; its figures mean little."""

"""Gateways that are killed at any point of a start: nothing is lost, and nothing begins twice."""

from __future__ import annotations

import random

from lro_gateway.records.location import Location
from scripts.neighbourhood.kills import Kills, forking
from scripts.neighbourhood.mortal import POINTS
from tests.counting import Counting

_AT_RANDOM = 6


async def test_a_kill_at_any_point_of_a_start_loses_nothing_and_begins_nothing_twice(
    location: Location,
) -> None:
    """A repeat gets the operation, or begins it, or learns that nobody knows."""
    async with Counting().open() as backend, forking() as process:
        kills = Kills(backend, location, process, random.Random(7))  # noqa: S311 - a run can be repeated
        for point in (*POINTS, *[None] * _AT_RANDOM):
            await kills.kill(point)
        outcomes = await kills.check()
    assert outcomes.total() == 2 * (len(POINTS) + _AT_RANDOM)
    assert {"known", "begun by the repeat"} <= outcomes.keys()

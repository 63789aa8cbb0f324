"""What a model pays stays within its goals, as `scripts/bench economy` measures it in bytes."""

from __future__ import annotations

from scripts.benchmark.economy import WAYS, measure_ways


async def test_following_an_operation_for_ten_minutes_fits_its_budget() -> None:
    """A model that follows the advice of each answer pays a quarter of the goal.

    A model that reads the whole operation each time pays no more than the goal.
    """
    tokens = {way.name: way.tokens for way in await measure_ways()}
    assert {name for name, most in WAYS.items() if tokens[name] <= most} == set(tokens)
    assert tokens["get_operation as advised"] <= tokens["get_operation in full"] / 3

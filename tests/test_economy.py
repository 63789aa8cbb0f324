"""What a model pays stays within its goals, as `scripts/bench economy` measures it in bytes."""

from __future__ import annotations

import pytest

from scripts.benchmark.economy import CATALOGS, INPUTS, WAYS, measure_catalog, measure_ways


async def test_following_an_operation_for_ten_minutes_fits_its_budget() -> None:
    """A model that follows the advice of each answer pays far less than the goal.

    A model that polls when it is advised to, and reads the whole operation each time, pays no more
    than the goal.
    """
    tokens = {way.name: way.tokens for way in await measure_ways()}
    assert {name for name, most in WAYS.items() if tokens[name] <= most} == set(tokens)
    assert tokens["get_operation as advised"] <= tokens["get_operation in full"] / 3


@pytest.mark.parametrize("name", ["demo", "Spanner admin", "Dataproc"])
async def test_the_tools_of_a_catalog_fit_their_budget(name: str) -> None:
    """The names, descriptions and input schemas count, because a model reads these."""
    catalog = await measure_catalog(name)
    assert catalog.tools > 5
    assert catalog.tokens <= CATALOGS[name][1]
    assert catalog.input_bytes <= INPUTS.get(name, catalog.input_bytes)

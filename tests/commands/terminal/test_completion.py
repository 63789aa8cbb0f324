"""The completion of names in a shell."""

from __future__ import annotations

import pytest

from tests.commands.stage import Stage

pytestmark = pytest.mark.anyio


async def completed(stage: Stage, words: str, **variables: str) -> list[str]:
    """Return what bash would offer after these words."""
    ended = await stage.run(
        _LRO_GATEWAY_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
        **variables,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


async def test_names_and_short_names_of_operations_are_completed(stage: Stage) -> None:
    """A shell also completes commands and options."""
    created = await stage.client.create("orders")
    last = created.name.rpartition("/")[2]
    assert await completed(stage, "lro-gateway operations wait data") == [created.name]
    assert await completed(stage, f"lro-gateway operations describe {last[:3]}") == [last]
    assert await completed(stage, "lro-gateway oper") == ["operations"]
    assert await completed(stage, "lro-gateway operations can") == ["cancel"]


async def test_without_a_gateway_nothing_is_completed(stage: Stage) -> None:
    """An error has no place in the line that a person writes."""
    down = {"LRO_GATEWAY_URL": "http://127.0.0.1:9"}
    assert await completed(stage, "lro-gateway operations wait data", **down) == []

"""Every start of googleapis arrives as it was sent, over REST."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.googleapis.calls import is_long_running
from tests.googleapis.published import apis
from tests.googleapis.rest_calls import described, wrong_calls

SHARDS = 8


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_every_start_arrives_over_rest_by_every_rule(shard: int, tmp_path: Path) -> None:
    """Google's generated clients would send the same path, query and body."""
    chosen = apis()[shard::SHARDS]
    calls, report = await wrong_calls(chosen, is_long_running, tmp_path)
    assert report == {}, described(report)
    started = sum(is_long_running(method) for api in chosen for method in api.methods)
    assert calls > started > 200

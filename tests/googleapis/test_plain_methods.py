"""Every method of googleapis that starts no operation is called by every HTTP rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor import MethodDescriptor

from tests.googleapis.calls import is_long_running
from tests.googleapis.published import apis
from tests.googleapis.rest_calls import described, wrong_calls

SHARDS = 8


def is_plain(method: MethodDescriptor) -> bool:
    """Return whether a method starts no operation."""
    return not is_long_running(method)


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_every_call_arrives_over_rest_by_every_rule(shard: int, tmp_path: Path) -> None:
    """Google's generated clients would send the same path, query and body."""
    calls, report = await wrong_calls(apis()[shard::SHARDS], is_plain, tmp_path)
    assert report == {}, described(report)
    assert calls > 1000

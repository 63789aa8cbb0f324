"""The methods of googleapis that start no operation are called by every HTTP rule.

They take the same way as the starts, which are all called. So a part of the packages suffices here,
and the tests of googleapis take about a minute.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import MethodDescriptor

from tests.googleapis.calls import is_long_running, takes_raw_bytes
from tests.googleapis.published import Api, apis
from tests.googleapis.rest_calls import described, wrong_calls

SHARDS = 2
EACH = 4
"""One of so many packages is called, always the same one."""
_VERSION = re.compile(r"\bv(?P<number>\d+)(?P<stage>\w*)")


def newest() -> list[Api]:
    """Return one version of each package, because versions have nearly the same rules.

    A stable version is preferred, then the highest number.
    """
    found: dict[str, Api] = {}
    for api in sorted(apis(), key=_maturity):
        found[_VERSION.sub("", api.package)] = api
    return list(found.values())


def _maturity(api: Api) -> tuple[bool, int, str]:
    version = _VERSION.search(api.package)
    if version is None:
        return False, 0, ""
    return not version["stage"], int(version["number"]), version["stage"]


def is_plain(method: MethodDescriptor) -> bool:
    """Return whether a method starts no operation, and its request has the form of JSON."""
    return not is_long_running(method) and not takes_raw_bytes(method)


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_every_call_arrives_over_rest_by_every_rule(shard: int, tmp_path: Path) -> None:
    """Google's generated clients would send the same path, query and body."""
    chosen = newest()[::EACH][shard::SHARDS]
    calls, report = await wrong_calls(chosen, is_plain, tmp_path)
    assert report == {}, described(report)
    assert calls >= sum(is_plain(method) for api in chosen for method in api.methods) > 100

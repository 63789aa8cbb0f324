"""The limit of file descriptors."""

from __future__ import annotations

import resource

from lro_gateway.serving.descriptors import raise_limit, room


def test_the_limit_is_raised_as_far_as_the_system_lets_it() -> None:
    """The reserve is at most a quarter of a small limit."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, before[1]), before[1]))
        assert (room().last, room().refused) == (150, 25)
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(before[1], 2**20)
        assert room().last == min(before[1], 2**20) - 64
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

"""The host of a request by RFC 9112."""

from __future__ import annotations

import pytest

from lro_gateway.serving.hosts import host_problem


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"/v1", b"a.example"),
        (b"*", b"a.example"),
        (b"http://a.example/v1", b"a.example"),
        (b"http://A.example:80/v1", b"a.example"),
        (b"http://a.example:8080/v1", b"a.example:8080"),
        (b"http://[::1]:8080/v1", b"[::1]:8080"),
    ],
)
def test_a_target_may_name_the_host_of_the_request(target: bytes, host: bytes) -> None:
    """Case and default ports do not matter."""
    assert host_problem(target, [(b"host", host)]) == ""


@pytest.mark.parametrize(
    ("target", "hosts", "problem"),
    [
        (b"/v1", [b"a", b"a"], "2 Host headers"),
        (b"http://b.example/v1", [b"a.example"], "'b.example', but the Host header is 'a.example'"),
        (b"http://a.example:81/v1", [b"a.example"], "'a.example:81'"),
        (b"http://a.example/v1", [], "the Host header is ''"),
        (b"http://user@a.example/v1", [b"a.example"], "names a user"),
    ],
)
def test_a_target_may_not_name_another_host(
    target: bytes, hosts: list[bytes], problem: str
) -> None:
    """The gateway and a proxy might believe different ones."""
    assert problem in host_problem(target, [(b"host", host) for host in hosts])

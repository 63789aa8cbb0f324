"""Principals: two callers have different identities for all issuers, subjects and tenants."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from lro_gateway.access.sealing import Sealer, UnsealError
from lro_gateway.mcp.answers import TaskKey
from lro_gateway.mcp.tasks.ids import TaskIds
from lro_gateway.principal import ANONYMOUS, Principal

COLLIDING = [
    (Principal("b#c", "a"), Principal("c", "a#b")),
    (Principal("", "a"), ANONYMOUS),
    (Principal("b", "a", "t"), Principal("b@t", "a")),
]


@pytest.mark.parametrize(("one", "other"), COLLIDING)
def test_two_principals_have_two_identities(one: Principal, other: Principal) -> None:
    """This holds even if their texts for logs are the same."""
    assert one.identity != other.identity
    assert one != other


@pytest.mark.parametrize(("one", "other"), COLLIDING)
def test_a_task_id_belongs_to_one_principal(one: Principal, other: Principal) -> None:
    """For another principal the id is as invalid as an unknown id."""
    ids = TaskIds(Sealer())
    key = TaskKey("operation", "get_operation", ("b", "jobs/1"))
    task_id = ids.seal(one, key)
    assert ids.unseal(one, task_id) == key
    with pytest.raises(UnsealError):
        ids.unseal(other, task_id)


def test_the_addresses_of_one_ipv6_network_have_one_share() -> None:
    """One client usually has a whole /64 network, and could use a new address for each watch."""
    one, other, elsewhere = (
        Principal(peer=(host, 1)).reader[0]
        for host in ("2001:db8::1", "2001:db8::2", "2001:db8:1::1")
    )
    assert one == other != elsewhere
    assert Principal(peer=("::ffff:192.0.2.1", 1)).reader == Principal(peer=("192.0.2.1", 1)).reader


def test_the_token_of_a_principal_shows_nowhere() -> None:
    """Logs and errors may have the text of a principal. It is also no part of who the caller is."""
    caller = Principal("ada", token=SecretStr("sesame"), passed=(("x-trace", "sesame"),))
    assert "sesame" not in f"{caller} {caller!r} {caller.token} {caller.token!r}"
    assert caller == Principal("ada", passed=(("x-trace", "sesame"),))


def test_callers_with_different_passed_headers_are_different() -> None:
    """A backend may give them different answers, so they share none."""
    assert Principal("ada", passed=(("x-region", "eu"),)) != Principal("ada")

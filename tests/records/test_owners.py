"""Owners, as the journal knows them."""

from __future__ import annotations

from lro_gateway.principal import Principal
from lro_gateway.records.owners import Owner


def test_an_owner_is_the_identity_of_a_caller() -> None:
    """The client, the groups and the scopes may change from one session to the next."""
    caller = Principal("alice", "https://id", "acme", frozenset({"g"}), frozenset({"s"}), "cli")
    assert Owner.of(caller) == Owner("https://id", "alice", "acme")
    assert Owner.of(caller) == Owner.of(Principal("alice", "https://id", "acme"))
    assert Owner.of(caller) != Owner.of(Principal("alice", "https://other", "acme"))

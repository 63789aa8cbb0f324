"""Which events a subscription gets."""

from __future__ import annotations

from typing import Any

import pytest

from lro_gateway.records.event_entries import OF_WEBHOOK, Event, Selection, Target
from lro_gateway.records.owners import Owner

ALICE = Owner("https://issuer", "alice", "acme")
BOB = Owner("https://issuer", "bob", "acme")
EVE = Owner("https://issuer", "eve", "other")
NOBODY = Owner("", "", "")


def event(kind: str = "operation.done", owner: Owner = ALICE) -> Event:
    """Return an event of an operation that has failed."""
    target = Target("demo", "databases/one/operations/1")
    return Event(kind, target, "demo.v1.Admin/CreateDatabase", owner, 2, "failed", "{}")


@pytest.mark.parametrize(
    ("selection", "is_selected"),
    [
        ({}, True),
        ({"kinds": ("operation.started", "operation.done")}, True),
        ({"kinds": ("operation.started",)}, False),
        ({"states": ("succeeded", "failed")}, True),
        ({"states": ("succeeded",)}, False),
        ({"backend": "demo"}, True),
        ({"backend": "dem"}, False),
        ({"backend": "demo", "name": "databases/one/operations/1"}, True),
        ({"backend": "demo", "name": "databases/one/operations/10"}, False),
        ({"method": "demo.v1.Admin/CreateDatabase"}, True),
        ({"method": "*/CreateDatabase"}, True),
        ({"method": "demo.v1.Admin/*"}, True),
        ({"method": "*/Create"}, False),
        ({"method": "*/createdatabase"}, False),
        ({"states": ("failed",), "method": "*", "backend": "other"}, False),
    ],
)
def test_all_filters_must_have_the_event(selection: dict[str, Any], *, is_selected: bool) -> None:
    """What is empty selects everything."""
    assert Selection(**selection).has(event(), EVE) is is_selected


@pytest.mark.parametrize(
    ("owner", "subscriber", "is_mine"),
    [
        (ALICE, ALICE, True),
        (ALICE, BOB, True),
        (ALICE, EVE, False),
        (NOBODY, ALICE, False),
        (NOBODY, NOBODY, True),
        (Owner("https://issuer", "alice", ""), Owner("https://issuer", "bob", ""), False),
        (Owner("https://other", "alice", ""), Owner("https://issuer", "alice", ""), False),
    ],
)
def test_mine_is_what_the_subscriber_or_its_tenant_has_started(
    owner: Owner, subscriber: Owner, *, is_mine: bool
) -> None:
    """Two callers without a tenant have none together."""
    assert Selection(mine=True).has(event(owner=owner), subscriber) is is_mine


@pytest.mark.parametrize(("subscriber", "is_selected"), [(ALICE, True), (BOB, False)])
def test_the_end_of_a_webhook_is_for_its_owner_alone(
    subscriber: Owner, *, is_selected: bool
) -> None:
    """Not for its tenant, and not for those who select everything."""
    assert Selection().has(event(OF_WEBHOOK), subscriber) is is_selected

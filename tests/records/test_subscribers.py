"""Which webhooks get which of several events, in one question to the database."""

from __future__ import annotations

import datetime as dt

from lro_gateway.records.database import Database
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import (
    Event,
    Selection,
    Subscription,
    SubscriptionState,
    Target,
)
from lro_gateway.records.event_rows import subscription_values
from lro_gateway.records.event_schema import SUBSCRIPTIONS
from lro_gateway.records.location import Location
from lro_gateway.records.owners import Owner
from lro_gateway.records.subscribers import subscribers
from lro_gateway.records.upgrade import upgrade

ALICE = Owner("https://issuer", "alice", "acme")
EVE = Owner("https://issuer", "eve", "other")
URL = "https://hooks.example/"


def event(kind: str, name: str, backend: str = "demo", owner: Owner = ALICE) -> Event:
    """Return an event of an operation."""
    return Event(kind, Target(backend, name), "demo.v1.Admin/Create", owner, 1, "running", "{}")


def webhook(id_: str, owner: Owner = ALICE, *, url: str = URL, **selection: object) -> Subscription:
    """Return a webhook."""
    chosen = Selection(**selection)  # type: ignore[arg-type]  # the test names the fields
    return Subscription(id_, "rest", owner, "", "{}", url, (), chosen)


async def test_each_event_has_the_webhooks_that_select_it(location: Location) -> None:
    """By its kind, its operation under either name, and its owner."""
    yesterday = now() - dt.timedelta(days=1)
    webhooks = [
        webhook("all"),
        webhook("ends", kinds=("operation.started", "operation.done")),
        webhook("one", backend="demo", name="jobs/1"),
        webhook("full", backend="demo", name="//demo/jobs/2", kinds=("operation.done",)),
        webhook("elsewhere", backend="other", name="jobs/1"),
        webhook("mine", EVE, mine=True),
        webhook("reader", url=""),
    ]
    rows = [subscription_values(each) for each in webhooks]
    stopped = subscription_values(webhook("stopped"))
    rows += [
        {**stopped, "state": SubscriptionState.DISABLED.value},
        {**stopped, "id": "expired", "expires": yesterday},
    ]
    events = [
        event("operation.progress", "jobs/1"),
        event("operation.done", "jobs/2"),
        event("operation.done", "jobs/1", "other", EVE),
    ]
    if location.file is not None:
        location.file.parent.mkdir(exist_ok=True)
    database = Database(location)
    try:
        await database.write(upgrade)
        await database.write(lambda c: c.execute(SUBSCRIPTIONS.insert(), rows).close())
        found = await database.read(lambda connection: subscribers(connection, events))
    finally:
        await database.close()
    assert [sorted(each) for each in found] == [
        ["all", "one"],
        ["all", "ends", "full"],
        ["all", "elsewhere", "ends", "mine"],
    ]

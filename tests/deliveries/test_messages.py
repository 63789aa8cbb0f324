"""The bodies of webhooks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lro_gateway.deliveries.messages import message
from lro_gateway.records.event_entries import OF_WEBHOOK, Event, Selection, Subscription, Target
from lro_gateway.records.owners import Owner

OWNER = Owner("https://issuer", "alice", "acme")
HOOK = Subscription(
    *("wh_1", "rest", OWNER, "", "{}", "https://hooks.example/", (), Selection()),
    format="cloudevents",
)


def cloud_event(target: Target, kind: str = "operation.done") -> dict[str, Any]:
    """Return the CloudEvent of an event."""
    event = Event(kind, target, "acme.v1.Jobs/RunJob", OWNER, 2, "succeeded", '{"a": 1}')
    headers, body = message(HOOK, event)
    assert headers == {"content-type": "application/cloudevents+json"}
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.mark.parametrize(
    ("backend", "source"),
    [
        ("demo", "//demo"),
        ("127.0.0.1:50051", "//127.0.0.1:50051"),
        ("builds.internal:443", "//builds.internal:443"),
        ("unix:run-builds.sock", "//unix%3Arun-builds.sock"),
        ("ipv6:::1:50059", "//ipv6%3A%3A%3A1%3A50059"),
        ("10.0.0.1:50051-10.0.0.2:50051", "//10.0.0.1%3A50051-10.0.0.2%3A50051"),
    ],
)
def test_the_source_of_a_cloud_event_is_a_uri_reference(backend: str, source: str) -> None:
    """Whatever form the target has after which the backend is named."""
    assert cloud_event(Target(backend, "jobs/1"))["source"] == source


def test_a_cloud_event_without_an_operation_has_no_subject() -> None:
    """An attribute of CloudEvents must not be empty."""
    event = cloud_event(Target("", ""), OF_WEBHOOK)
    assert (event["source"], "subject" in event) == ("/v1/webhooks", False)
    assert cloud_event(Target("demo", "jobs/1"))["subject"] == "jobs/1"

"""The form of a refusal."""

from __future__ import annotations

import json
import logging

import pytest

from lro_gateway.serving.refusals import bad_request, timed_out, too_many_requests


def test_a_refusal_is_a_whole_response() -> None:
    """It closes the connection, and its length is right."""
    refusal = timed_out("body", 1.5, "limits.body_timeout")
    head, _, body = refusal.to_bytes([(b"date", b"now")]).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 408 Request Timeout"
    assert {b"date: now", b"connection: close", b"content-length: %d" % len(body)} <= set(lines)
    error = json.loads(body)["error"]
    assert error["message"].startswith("the body of the request did not arrive within 1.5 s")


def test_a_refusal_of_one_request_leaves_the_connection_open() -> None:
    """The client may send other requests."""
    response = too_many_requests(2, "limits.max_requests", in_all=True).response()
    assert response.status_code == 503
    assert "connection" not in response.headers


def test_the_log_has_one_template_for_all_refusals(caplog: pytest.LogCaptureFixture) -> None:
    """So the log can limit their number."""
    with caplog.at_level(logging.WARNING):
        bad_request("the request is wrong").log("10.0.0.1")
    (record,) = caplog.records
    assert record.msg == "refused %s: %s"
    assert record.getMessage() == "refused 10.0.0.1: the request is wrong"

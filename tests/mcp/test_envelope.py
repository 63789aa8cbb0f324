"""Which JSON-RPC messages reach the SDK."""

from __future__ import annotations

import json

import pytest

from lro_gateway.mcp.envelope import envelope_error


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":"a","method":"ping","params":{}}',
        b'{"jsonrpc":"2.0","id":-9223372036854775808,"method":"ping"}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}',
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
    ],
)
def test_valid_messages_pass(body: bytes) -> None:
    """Requests, notifications, results and errors."""
    assert envelope_error(body) is None


@pytest.mark.parametrize(
    ("body", "code", "problem"),
    [
        (b"", -32700, "not JSON"),
        (b"{", -32700, "not JSON"),
        (b"\xff", -32700, "not JSON"),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', -32700, "not JSON"),
        (b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', -32700, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, -32700, "not JSON"),
        (b"[]", -32600, "batch"),
        (b"null", -32600, "object"),
        (b'{"id":1,"method":"ping"}', -32600, "jsonrpc"),
        (b'{"jsonrpc":"2.0","id":1}', -32600, "method is missing"),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600, "method must be"),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, "id must be"),
        (b'{"jsonrpc":"2.0","id":18446744073709551616,"method":"ping"}', -32600, "id must be"),
        (b'{"jsonrpc":"2.0","id":"' + b"a" * 257 + b'","method":"ping"}', -32600, "id may"),
        (b'{"jsonrpc":"2.0","id":1,"method":"' + b"a" * 257 + b'"}', -32600, "method may"),
    ],
)
def test_all_other_bodies_are_refused_in_short(body: bytes, code: int, problem: str) -> None:
    """No answer repeats a large part of the body."""
    refused = envelope_error(body)
    assert refused is not None
    error = json.loads(refused)["error"]
    assert error["code"] == code
    assert problem in error["message"]
    assert len(refused) < 300

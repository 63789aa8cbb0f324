"""The endpoint of MCP in front of a real process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.serving.wires import HOST, exchange, limited

HEAD = (
    b"POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\n"
    b"Accept: application/json, text/event-stream\r\n" + HOST
)


async def test_an_id_that_the_sdk_cannot_use_is_answered(tmp_path: Path) -> None:
    """The SDK alone would answer 202, and the client would wait for ever."""
    async with limited(tmp_path) as gateway:

        async def post(body: bytes) -> tuple[int, Any]:
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            return await exchange(gateway, HEAD + length + body)

        for given in (b"null", b"1.5", b"{}", b"[1]", b"true", b"9" * 300):
            body = b'{"jsonrpc":"2.0","method":"ping","id":' + given + b"}"
            status, answer = await post(body)
            assert (status, answer["error"]["code"], answer["id"]) == (400, -32600, None)
        status, answer = await post(
            b'{"jsonrpc":"2.0","id":1,"method":"' + b"a" * 2_000_000 + b'"}'
        )
        assert (status, answer["error"]["code"]) == (400, -32600)
        assert len(str(answer)) < 300
        status, answer = await post(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        assert status == 200
        assert (await post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}'))[0] == 202

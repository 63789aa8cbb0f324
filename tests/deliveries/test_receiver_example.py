"""The receiver in docs/events.md gets real deliveries, and the body there is like a real one."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from lro_gateway.deliveries.signing import new_secret
from tests.deliveries.receiver import answering, receiving
from tests.rest.test_webhooks import made, served

PAGE: Final = (Path(__file__).parents[2] / "docs" / "events.md").read_text()


@asynccontextmanager
async def running(directory: Path, secret: str) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """Run the receiver of the page; yields its URL and its further output."""
    found = re.search(r"^```python receiver.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    (directory / "receiver.py").write_text(found[1])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "receiver.py"),
        cwd=directory,
        env={**os.environ, "WEBHOOK_SECRET": secret, "PORT": "0"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        first = (await process.stdout.readline()).decode()
        yield first.removeprefix("listening at ").strip(), process.stdout
    finally:
        process.kill()
        await process.wait()


async def told(output: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    """Return the name and the data of the next event that the receiver handles."""
    async with asyncio.timeout(60):
        name, _, data = (await output.readline()).decode().partition(" ")
    return name, ast.literal_eval(data)


async def delivered(client: httpx.AsyncClient, path: str) -> str:
    """Return the id of the one delivery, once its answer is recorded."""
    while True:
        (found,) = (await client.get(path)).json()["deliveries"]
        if found["state"] == "delivered":
            return str(found["id"])


async def test_the_receiver_verifies_and_handles_each_event_once(tmp_path: Path) -> None:
    """A delivery that is sent again is answered, and handled no second time."""
    secret = new_secret()
    async with running(tmp_path, secret) as (url, output), served(tmp_path) as clients:
        alice = clients["alice"]
        hook = await made(alice, url, secret=secret, method="CreateDatabase")
        first = (await alice.post("/v1/databases", json={"databaseId": "one"})).json()["name"]
        name, data = await told(output)
        assert (name, data["operation"], data["state"]) == ("operation.done", first, "succeeded")
        path = f"/v1/webhooks/{hook['id']}/deliveries"
        delivery = await delivered(alice, path)
        again = (await alice.post(f"{path}/{delivery}:redeliver")).json()
        assert (again["id"], again["state"]) == (delivery, "pending")
        assert await delivered(alice, path) == delivery
        async with httpx.AsyncClient() as forger:
            headers = {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
            assert (await forger.post(url, content=b"{}", headers=headers)).status_code == 401
        other = (await alice.post("/v1/databases", json={"databaseId": "two"})).json()["name"]
        assert (await told(output))[1]["operation"] == other


async def test_the_body_on_the_page_is_like_a_real_one(tmp_path: Path) -> None:
    """It has the same fields, and the table describes each of them."""
    found = re.search(r'^```json\n(\{\n  "eventId".*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    shown = json.loads(found[1])
    async with served(tmp_path) as clients, receiving(answering(200)) as receiver:
        await made(clients["alice"], receiver.url, mine=True)
        await clients["alice"].post("/v1/databases", json={"databaseId": "one"})
        (received,) = await receiver.after(1)
    real = json.loads(received.body)
    assert {key: type(value) for key, value in shown.items()} == {
        key: type(value) for key, value in real.items()
    }
    assert {key: type(value) for key, value in shown["data"].items()} == {
        key: type(value) for key, value in real["data"].items()
    }
    rows = re.findall(r"^\| (`.*?`) \|", PAGE.partition("| field of `data` |")[2], re.MULTILINE)
    assert {*re.findall(r"`(\w+)`", " ".join(rows))} > shown["data"].keys()

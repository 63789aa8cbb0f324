"""The summary of an operation, which programs show to people."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from lro_gateway.demo.databases import damage
from tests.commands.stage import Stage, staged

pytestmark = pytest.mark.anyio


async def listed(stage: Stage, **query: str) -> list[dict[str, object]]:
    """Return the operations of the list of all."""
    async with httpx.AsyncClient(base_url=stage.url) as http:
        answer = (await http.get("/v1/operations", params=query)).raise_for_status()
    found: list[dict[str, object]] = answer.json()["operations"]
    return found


async def test_a_summary_has_the_state_the_progress_and_the_times(tmp_path: Path) -> None:
    """It is the same in a list and in a get. Without the parameter there is none."""
    async with staged(tmp_path) as stage:
        created = await stage.client.create("orders")
        damage(tmp_path / "orders.sqlite3")
        await stage.client.check("orders")
        failed, succeeded = await listed(stage, summary="true")
        for operation, state, kind, percent in (
            (failed, "failed", "CheckDatabase", 75.0),
            (succeeded, "succeeded", "CreateDatabase", 100.0),
        ):
            metadata = operation["metadata"]
            assert isinstance(metadata, dict)
            assert operation["summary"] == {
                "state": state,
                "backend": "demo",
                "kind": kind,
                "percent": percent,
                "statusText": metadata["phase"],
                "createTime": metadata["createTime"],
                "updateTime": metadata["endTime"],
            }
        async with httpx.AsyncClient(base_url=stage.url) as http:
            got = await http.get(f"/v1/{created.name}", params={"summary": "true"})
            plain = await http.get(f"/v1/{created.name}", params={"fields": "summary"})
            states = await http.get(
                f"/v1/{created.name}:watch", params={"summary": "true", "fields": "summary(state)"}
            )
        assert got.json() == succeeded
        assert '"percent": 100,' in got.text
        assert plain.json() == {}
        assert '{"summary":{"state":"succeeded"}}' in states.text


async def test_an_operation_without_metadata_has_only_its_state(tmp_path: Path) -> None:
    """What is not known is left out."""
    async with staged(tmp_path) as stage:
        async with stage.gate:
            await stage.client.begin("orders")
            (running,) = await listed(
                stage, summary="true", fields="operations(summary(state,backend))"
            )
        assert running == {"summary": {"state": "running", "backend": "demo"}}

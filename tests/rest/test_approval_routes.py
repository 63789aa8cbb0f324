"""The routes of calls that wait for an approval."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.gateways import serving
from tests.service.approved import AGENT, ANA, backend_of, office


async def test_only_the_verbs_of_a_path_are_served(tmp_path: Path) -> None:
    """A wrong HTTP verb is 405, and a wrong custom verb is unknown."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        name = (await place.ask())["name"]
        for verb, path, allowed in [
            ("POST", "/v1/approvals", "GET, HEAD"),
            ("GET", f"/v1/{name}:approve", "POST"),
            ("POST", f"/v1/{name}", "DELETE, GET, HEAD"),
        ]:
            answer = await place.call(ANA, verb, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert (await place.call(ANA, "POST", f"/v1/{name}:agree")).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"), [({"reason": 1}, "reason"), ({"because": "x"}, "because")]
)
async def test_a_wrong_body_is_refused(tmp_path: Path, body: object, field: str) -> None:
    """Before anything is decided."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        name = (await place.ask())["name"]
        answer = await place.call(ANA, "POST", f"/v1/{name}:refuse", body)
        assert answer.json()["error"]["details"][0]["metadata"]["field"] == field
        assert (await place.get(AGENT, name))["metadata"]["state"] == "PENDING"


async def test_a_decision_needs_no_body(tmp_path: Path) -> None:
    """The name may be a parameter of a read, as that of an operation may be."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        name = (await place.ask())["name"]
        assert (await place.call(ANA, "POST", f"/v1/{name}:approve")).is_success
        read = await place.call(ANA, "GET", "/v1/-", name=name, summary="true")
        assert read.json()["summary"]["kind"] == "Approval"
        assert read.json()["summary"]["statusText"].endswith("and has started jobs/1.")


async def test_the_document_has_the_routes(tmp_path: Path) -> None:
    """Without approvals there is none of them."""
    async with backend_of() as backend:
        async with office(tmp_path, backend) as place:
            paths = (await place.call(ANA, "GET", "/openapi.json")).json()["paths"]
            assert {each for each in paths if "approvals" in each} == {
                "/v1/approvals",
                "/v1/approvals/{approval}:approve",
                "/v1/approvals/{approval}:refuse",
            }
        settings = {"name": "east", "target": backend.target}
        async with serving(settings) as url, httpx.AsyncClient(base_url=url) as client:
            paths = (await client.get("/openapi.json")).json()["paths"]
            assert not [each for each in paths if "approvals" in each]

"""The methods that a webhook selects: by their names, by patterns, or refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from lro_gateway.demo.server import DemoServer
from lro_gateway.principal import Principal
from lro_gateway.records.location import Location
from tests.access.policed import policed, rest
from tests.rest.exchanges import error_of

SERVICE: Final = "lro_gateway.demo.v1.DatabaseAdmin"
ANA: Final = Principal("ana", "https://id")
BEN: Final = Principal("ben", "https://id")
EVE: Final = Principal("eve", "https://id")
RULES: Final[list[dict[str, Any]]] = [
    {"allow": ["get", "list", "start", "call"], "subjects": ["ana"]},
    {"allow": ["get", "list"], "subjects": ["ben"]},
    {"allow": ["start"], "methods": ["*/CheckDatabase"], "subjects": ["ben"]},
    {"allow": ["start"], "subjects": ["eve"]},
]


@asynccontextmanager
async def asking(directory: Path, *more: dict[str, Any]) -> AsyncIterator[Any]:
    """Serve the demo and more backends; yields a function that makes a webhook of a caller."""
    async with DemoServer.open(directory / "demo") as demo:
        backends = [{"name": "demo", "target": demo.target}, *more]
        store = Location(directory / "store.sqlite3")
        async with policed(RULES, *backends, store=store) as url:

            async def ask(caller: Principal, **selection: str) -> httpx.Response:
                async with rest(url, caller) as client:
                    body = {"url": "https://hooks.example/", **selection}
                    return await client.post("/v1/webhooks", json=body)

            yield ask


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Any]:
    """Serve the demo alone."""
    async with asking(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    "name",
    [
        "CreateDatabase",
        "DatabaseAdmin.CreateDatabase",
        "create_database",
        f"{SERVICE}/CreateDatabase",
        f"{SERVICE}.CreateDatabase",
    ],
)
async def test_a_name_that_means_one_method_selects_it(ask: Any, name: str) -> None:
    """As it does at the terminal. The answer has the full name."""
    made = await ask(ANA, method=name)
    assert made.json()["method"] == f"{SERVICE}/CreateDatabase"


async def test_a_pattern_stays_as_it_is(ask: Any) -> None:
    """It may match methods that come later."""
    assert (await ask(ANA, method="*/Create*", backend="demo")).json()["method"] == "*/Create*"


@pytest.mark.parametrize(
    "wrong",
    ["CreateDatabse", "Create*", f"{SERVICE}/createDatabase", "*/Drop*", "GetDatabase"],
)
async def test_what_matches_no_method_with_operations_is_refused(ask: Any, wrong: str) -> None:
    """It would never get an event. GetDatabase starts no operation."""
    error = error_of(await ask(ANA, method=wrong))
    assert (error["status"], error["details"][0]["reason"]) == (
        "INVALID_ARGUMENT",
        "UNKNOWN_METHOD",
    )
    start = "method: '{}' matches no method whose operations you may read; there are: "
    assert error["message"].startswith(start.format(wrong))
    for name in ("BackupDatabase", "CheckDatabase", "CreateDatabase", "ExportQuery"):
        assert f"{SERVICE}/{name}" in error["message"]
    assert f"{SERVICE}/GetDatabase" not in error["message"]


async def test_a_text_with_a_nul_character_is_refused(ask: Any) -> None:
    """PostgreSQL could not store it."""
    for field in ("method", "operation"):
        error = error_of(await ask(ANA, **{field: "a/\x00"}))
        assert error["message"] == f"{field}: a text must not have a NUL character"


async def test_an_error_names_only_what_the_caller_may_see(ask: Any) -> None:
    """A reader may select methods that it may not call, because it reads their operations."""
    error = error_of(await ask(BEN, method="CreateDatabase"))
    assert f"there are: {SERVICE}/CheckDatabase; a pattern" in error["message"]
    assert f"{SERVICE}/CreateDatabase" not in error["message"]
    assert (await ask(BEN, method="*/CreateDatabase")).is_success
    assert (await ask(BEN, method="CheckDatabase")).is_success
    nothing = error_of(await ask(EVE, method="*/CreateDatabase"))["message"]
    assert "there are" not in nothing


async def test_a_backend_that_does_not_exist_is_refused(ask: Any) -> None:
    """With the names of those that do."""
    error = error_of(await ask(ANA, backend="demos"))
    assert error["details"][0]["reason"] == "UNKNOWN_BACKEND"
    assert "demo" in error["message"]


async def test_a_method_must_be_one_of_the_backend(tmp_path: Path) -> None:
    """Of a backend that is down nobody knows the methods, so a full name is taken."""
    down = {"name": "down", "target": "127.0.0.1:1", "discovery_wait": "100ms"}
    async with asking(tmp_path, down) as ask:
        assert (await ask(ANA, method="CreateDatabase", backend="demo")).is_success
        full = f"{SERVICE}/CreateDatabase"
        assert (await ask(ANA, method=full, backend="down")).json()["method"] == full
        error = error_of(await ask(ANA, method="CreateDatabase", backend="down"))
        assert error["details"][0]["reason"] == "METHODS_NOT_KNOWN"

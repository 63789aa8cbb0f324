"""The audit: an entry for each call that changes something, refusal and failed sign-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from lro_gateway.access.sign_in_failures import FIRST
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import Principal
from lro_gateway.service.verb_requests import StartRequest
from lro_gateway.serving.app import create_app
from tests import factory
from tests.access.policed import ByClaims, claims
from tests.access.test_policy_faces import HANDLERS, METHODS, POOL
from tests.contrary import ContraryBackend
from tests.gateways import offer_of

ALICE = Principal("alice", "https://id", "data", client="agent")
RULES = [
    {"allow": ["*"], "tenants": ["data"], "name": "data"},
    {"allow": ["get"], "names": ["jobs/**"]},
]


async def recorded(
    directory: Path, *requests: tuple[str, str, Any], caller: Principal = ALICE, key: str = ""
) -> list[dict[str, Any]]:
    """Send requests to a gateway with an audit, and return the entries without time and ids."""
    file = directory / "audit.jsonl"
    async with ContraryBackend.open(
        HANDLERS, methods=METHODS, pool=POOL, reflection_versions=("v1",)
    ) as backend:
        config = GatewayConfig.model_validate(
            {
                "server": {"sync_grace": "0s"},
                "policy": RULES,
                "audit": {"to": f"file:{file}"},
                "store": {"url": f"sqlite:///{directory}/store.sqlite3" if key else "none"},
                "backends": [
                    {
                        "name": "east",
                        "target": backend.target,
                        "methods": ["*"],
                        "confirm": ["*/DeleteOperation"],
                    }
                ],
            }
        )
        async with Gateway.open(config, authenticator=ByClaims()) as gateway:
            transport = httpx.ASGITransport(create_app(gateway))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost", headers=claims(caller)
            ) as client:
                for method, path, body in requests:
                    keys = {"idempotency-key": key} if key else {}
                    await client.request(method, path, json=body, headers=keys)
    entries = [json.loads(line) for line in (await read(file)).splitlines()]
    for entry in entries:
        assert entry.pop("time").endswith("Z")
        assert entry.pop("request_id")
    return entries


async def read(file: Path) -> str:
    """Return the text of a file."""
    return await asyncio.to_thread(file.read_text)


async def test_a_repeat_with_an_idempotency_key_is_marked(tmp_path: Path) -> None:
    """Whoever counts starts must not count it."""
    entries = await recorded(
        tmp_path, *[("POST", "/v1/lines/1/machines", factory.ORDER["machine"])] * 2, key="k"
    )
    assert [(each["name"], each.get("repeat")) for each in entries] == [
        ("jobs/3", None),
        ("jobs/3", True),
    ]


WHO = {"issuer": "https://id", "subject": "alice", "tenant": "data", "client": "agent"}
RULE = {"backend": "east", "decision": "allowed", "rule": "policy[0] (data)"}
BUILD = f"{factory.SERVICE}/BuildMachine"


@pytest.mark.parametrize(
    ("request_", "entry"),
    [
        (
            ("POST", "/v1/machines:build", factory.ORDER),
            {"event": "call", "verb": "start", "method": BUILD, "name": "jobs/3", "outcome": "OK"},
        ),
        (
            ("POST", "/v1/jobs/operations/1:cancel", None),
            {"event": "call", "verb": "cancel", "name": "jobs/operations/1", "outcome": "OK"},
        ),
        (
            ("DELETE", "/v1/jobs/operations/1", None),
            {
                "event": "confirmation",
                "verb": "delete",
                "name": "jobs/operations/1",
                "outcome": "CONFIRMATION_REQUIRED",
            },
        ),
        (
            ("GET", "/v1/lines/1/machines/2", None),
            {
                "event": "call",
                "verb": "call",
                "method": f"{factory.SERVICE}/GetMachine",
                "outcome": "OK",
            },
        ),
    ],
)
async def test_a_call_is_recorded_with_its_caller_rule_and_outcome(
    tmp_path: Path, request_: tuple[str, str, Any], entry: Mapping[str, Any]
) -> None:
    """And with nothing of its payload."""
    (found,) = await recorded(tmp_path, request_)
    assert found == {**WHO, **RULE, **entry}
    assert "Press" not in json.dumps(found)


async def test_a_refusal_is_recorded_with_its_reason_and_a_read_is_not(tmp_path: Path) -> None:
    """The caller learns less than the audit."""
    bob = Principal("bob", "https://id")
    found = await recorded(
        tmp_path,
        ("GET", "/v1/jobs/1", None),
        ("GET", "/v1/secrets/operations/1", None),
        ("POST", "/v1/jobs/1:cancel", None),
        caller=bob,
    )
    refusal = {"event": "refusal", "issuer": "https://id", "subject": "bob", "backend": "east"}
    assert found == [
        {
            **refusal,
            "verb": "get",
            "name": "secrets/operations/1",
            "decision": "denied",
            "outcome": "NO_SUCH_OPERATION",
        },
        {
            **refusal,
            "verb": "cancel",
            "name": "jobs/1",
            "decision": "denied",
            "outcome": "POLICY_DENIED",
        },
    ]


async def test_a_failed_sign_in_is_recorded_without_its_credentials(tmp_path: Path) -> None:
    """A request without credentials has not tried to sign in."""
    (tmp_path / "tokens.toml").write_text("")
    config = GatewayConfig.model_validate(
        {
            "auth": {"tokens": "tokens.toml"},
            "audit": {"to": "file:audit.jsonl"},
            "backends": [{"name": "east", "target": "127.0.0.1:1", "descriptors": []}],
        },
        context={"base": tmp_path},
    )
    async with Gateway.open(config) as gateway:
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for headers in ({"authorization": "Bearer s3cret"}, {}):
                assert (await client.get("/v1/jobs/1", headers=headers)).status_code == 401
    (line,) = (await read(tmp_path / "audit.jsonl")).splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["host"]) == ("sign_in_failure", "127.0.0.1")
    assert entry["outcome"]
    assert "s3cret" not in line


async def test_a_flood_of_failed_sign_ins_is_counted(tmp_path: Path) -> None:
    """Anyone can send wrong tokens, and must not fill the disk. The end tells the number."""
    (tmp_path / "tokens.toml").write_text("")
    config = GatewayConfig.model_validate(
        {
            "auth": {"tokens": "tokens.toml"},
            "audit": {"to": "file:audit.jsonl"},
            "backends": [{"name": "east", "target": "127.0.0.1:1", "descriptors": []}],
        },
        context={"base": tmp_path},
    )
    async with Gateway.open(config) as gateway:
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for number in range(FIRST + 5):
                headers = {"authorization": f"Bearer lro_abcdefgh_{number}"}
                assert (await client.get("/v1/jobs/1", headers=headers)).status_code == 401
    entries = [json.loads(line) for line in (await read(tmp_path / "audit.jsonl")).splitlines()]
    assert [each.get("omitted") for each in entries] == [None] * FIRST + [5]
    told = {key: value for key, value in entries[-1].items() if key != "time"}
    first = {key: entries[0][key] for key in ("event", "host", "outcome")}
    assert told == {**first, "omitted": 5}


async def test_the_gateways_own_look_leaves_no_refusal(tmp_path: Path) -> None:
    """It asks for a caller whether it can read what it has started. The caller has not asked."""
    file = tmp_path / "audit.jsonl"
    async with ContraryBackend.open(
        HANDLERS, methods=METHODS, pool=POOL, reflection_versions=("v1",)
    ) as backend:
        config = GatewayConfig.model_validate(
            {
                "policy": [{"allow": ["start"]}],
                "audit": {"to": f"file:{file}"},
                "backends": [{"name": "east", "target": backend.target}],
            }
        )
        async with Gateway.open(config) as gateway:
            service = gateway.service
            request = StartRequest(await offer_of(service, BUILD.replace("/", ".")), factory.ORDER)
            started = await service.start(ALICE, request)
            assert started.operation is not None
            assert not await service.can_read(ALICE, started.operation)
    entries = [json.loads(line) for line in (await read(file)).splitlines()]
    assert [(each["event"], each["verb"]) for each in entries] == [("call", "start")]

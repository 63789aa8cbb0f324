"""Operations of a hostile backend are followed, told of and kept, whatever their values are."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, message_factory
from google.rpc import status_pb2

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.deliveries.happenings import DONE, STARTED
from lro_gateway.records.location import Location
from tests import factory
from tests.access.callers_of import bearing, identifying
from tests.contrary import Answer, ContraryBackend
from tests.deliveries.receiver import Receiver, answering, receiving
from tests.protos import pool_of

POOL: Final = pool_of("factory", "progress", "shapes")
INFINITE: Final = float("inf")


def payload(name: str, **fields: Any) -> any_pb2.Any:
    """Return a message of `progress.v1`."""
    packed = any_pb2.Any()
    kind = POOL.FindMessageTypeByName(f"progress.v1.{name}")
    packed.Pack(message_factory.GetMessageClass(kind)(**fields))
    return packed


def common(**fields: Any) -> any_pb2.Any:
    """Return the metadata of an operation."""
    return payload("CommonMetadata", **fields)


PAYLOADS: Final[Mapping[str, any_pb2.Any]] = {
    "nul": common(status_message="a\0b"),
    "long": common(status_message="a" * 300_000),
    "lines": common(status_message="a\r\nb\u2028\u202e\ufeff\U0010ffff"),
    "negative": common(progress_percent=-5),
    "beyond": common(progress_percent=2**31 - 1),
    "nan": payload("Percentage", progress_percentage=float("nan")),
    "infinite": payload("Percentage", progress_percentage=INFINITE),
    "huge": payload("Percentage", progress_percentage=1e308),
    "ratio": payload("Ratio", estimated_completion_ratio=-INFINITE),
    "first-year": common(create_time={"seconds": -62135596800}),
    "last-year": common(create_time={"seconds": 253402300799}),
    "no-year": common(create_time={"seconds": 10**15, "nanos": -5}),
    "unknown": any_pb2.Any(type_url="types.example/no.Such", value=b"\xff\0"),
    "no-url": any_pb2.Any(value=b"x"),
    "odd-url": any_pb2.Any(type_url="\0/\0", value=b"x"),
    "garbage": any_pb2.Any(type_url="x/progress.v1.CommonMetadata", value=b"\xff\xff"),
}
ERRORS: Final[Mapping[str, status_pb2.Status]] = {
    "nul": status_pb2.Status(code=3, message="a\0b"),
    "code": status_pb2.Status(code=99, message="x"),
    "negative-code": status_pb2.Status(code=-1),
    "ok": status_pb2.Status(code=0, message="ok"),
    "long": status_pb2.Status(code=5, message="a" * 300_000),
    "details": status_pb2.Status(code=5, details=[PAYLOADS["unknown"], PAYLOADS["odd-url"]]),
}
NAMES: Final = (
    "jobs/\u00fc",
    "jobs/" + "a" * 5000,
    "a b",
    "//x/y",
    "jobs/%2F",
    "jobs/1\n",
    "'",
    "..",
)

Ends = dict[str, Any]


def operations() -> Ends:
    """Return the end of each operation, by name."""
    ends = [
        *({"name": f"payload/{key}", "response": each} for key, each in PAYLOADS.items()),
        *({"name": f"error/{key}", "error": each} for key, each in ERRORS.items()),
        *({"name": name} for name in NAMES),
    ]
    return {end["name"]: operations_pb2.Operation(done=True, **end) for end in ends}


def backend_of(ends: Ends) -> Any:
    """Open a backend whose operations have the payload of their end as metadata, and end soon."""
    begins, looks = iter(ends.values()), Counter[str]()

    def running(end: Any) -> Answer:
        metadata = end.response if end.HasField("response") else None
        operation: Answer = operations_pb2.Operation(name=end.name, metadata=metadata)
        return operation

    async def begin(_request: Any, _context: Any) -> Answer:
        return running(next(begins))

    async def get(request: Any, _context: Any) -> Answer:
        looks[request.name] += 1
        end: Answer = ends[request.name]
        return end if looks[request.name] > 1 else running(end)

    methods = {f"{factory.SERVICE}/BuildMachine": begin}
    return ContraryBackend.open(
        {"GetOperation": get}, methods=methods, pool=POOL, reflection_versions=("v1",)
    )


async def told(receiver: Receiver, kind: str, number: int) -> set[str]:
    """Return the operations of which so many events of a kind have told."""
    async with asyncio.timeout(60):
        found: set[str] = set()
        while len(found) < number:
            bodies = [json.loads(each.body) for each in receiver.received]
            found = {each["data"]["operation"] for each in bodies if each["name"] == kind}
            if len(found) < number:
                await receiver.after(len(bodies) + 1)
    return found


@pytest.mark.timeout(300)
async def test_each_operation_is_told_and_kept(
    location: Location, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing fails, also not in the background, where only the log would tell of it."""
    token, entry = new_token("alice", tenant="acme")
    file = tmp_path / "tokens.toml"
    file.write_text(entry.line)
    file.chmod(0o600)
    ends = operations()
    async with (
        backend_of(ends) as backend,
        receiving(answering(200)) as receiver,
        identifying(
            {"tokens": str(file)},
            {"name": "b", "target": backend.target, "visibility": "owner"},
            store={"url": location},
            deliveries={"allowed_addresses": ["127.0.0.1"], "allow_http": True},
        ) as (_, url),
        bearing(url, token) as http,
    ):
        events = {"url": receiver.url, "events": [STARTED, DONE]}
        assert (await http.post("/v1/webhooks", json=events)).is_success
        started = {
            (await http.post("/v1/machines:build", json={**factory.ORDER})).json()["name"]
            for _ in ends
        }
        assert await told(receiver, STARTED, len(ends)) == started
        assert await told(receiver, DONE, len(ends)) == started
        for name in started:
            answer = await http.get("/v1/-", params={"name": name})
            assert (answer.status_code, answer.json()["done"]) == (200, True), name
        page = (await http.get("/v1/operations:mine", params={"pageSize": 100})).json()
        assert {each["name"] for each in page["operations"]} == started
        assert {each["state"] for each in page["operations"]} <= {"succeeded", "failed"}
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []

"""Every face prints an Operation as the same JSON, from every source of descriptors."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.longrunning import operations_pb2
from google.protobuf import (
    any_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tests.contrary import ContraryBackend, answering
from tests.gateways import FACES, Face, FaceName, opened
from tests.protos import generate_code
from tests.shapes import FILES, descriptor_set, message, pool

GOOGLE = "type.googleapis.com/"


def known(name: str, **fields: Any) -> Any:
    """Make a message of a well-known type, of the pool of `tests.shapes`."""
    return message(f"google.protobuf.{name}", **fields)


JOB = message(
    "Job",
    create_time=known("Timestamp", seconds=1_700_000_000),
    progress_percent=42,
    status_message="halfway",
)
JOB_JSON = {
    "@type": GOOGLE + "shapes.v1.Job",
    "createTime": "2023-11-14T22:13:20Z",
    "progressPercent": 42,
    "statusMessage": "halfway",
}


def packed(payload: Message) -> any_pb2.Any:
    """Pack a message into an Any of the default pool, as a service does."""
    holder = any_pb2.Any()
    holder.Pack(payload)
    return holder


def own(payload: Message) -> Any:
    """Pack a message into an Any of the pool of `tests.shapes`."""
    holder = known("Any")
    holder.Pack(payload)
    return holder


def running(**fields: Any) -> Any:
    """Return an operation that runs."""
    return operations_pb2.Operation(name="jobs/1", **fields)


def responded(response: any_pb2.Any) -> Any:
    """Return an operation that succeeded with this response."""
    return operations_pb2.Operation(name="jobs/1", done=True, response=response)


def failed(code: int, text: str, *details: any_pb2.Any) -> Any:
    """Return an operation that failed with this code, message and details."""
    status = status_pb2.Status(code=code, message=text, details=details)
    return operations_pb2.Operation(name="jobs/1", done=True, error=status)


def response_json(response: Any) -> dict[str, Any]:
    """Return the JSON of an operation that succeeded with this response."""
    return {"name": "jobs/1", "done": True, "response": response}


def lossless(payload: any_pb2.Any, reason: str) -> dict[str, str]:
    """Return the lossless form of an Any that the gateway cannot read for this reason."""
    value = base64.b64encode(payload.value).decode()
    return {"@type": payload.type_url, "@value": value, "@error": reason}


def unknown(name: str, *sources: str) -> str:
    """Return the reason for a type that none of these sources knows."""
    return f"no descriptor of {name} in {', '.join([*sources, 'googleapis-common-protos'])}"


def in_anys(payload: any_pb2.Any, levels: int) -> any_pb2.Any:
    """Pack a payload into an Any, and that into another, for a number of levels."""
    for _ in range(levels):
        payload = packed(payload)
    return payload


EVERYTHING = message(
    "Everything",
    big=-(2**63),
    huge=2**64 - 1,
    color=2,
    raw=b"\x00\xff\xfe",
    duration=known("Duration", seconds=-1, nanos=-500_000_000),
    time=known("Timestamp", seconds=1, nanos=1),
    free=known(
        "Struct",
        fields={
            "list": known(
                "Value",
                list_value=known(
                    "ListValue",
                    values=[
                        known("Value", null_value=struct_pb2.NULL_VALUE),
                        known("Value", number_value=1.5),
                        known("Value", number_value=1e300),
                        known("Value", bool_value=True),
                    ],
                ),
            )
        },
    ),
    nothing=known("Empty"),
    any=own(JOB),
    anys=[own(known("Duration", seconds=3)), own(known("Empty"))],
    any_by_name={"job": own(JOB)},
    inner=message("Everything", word=""),
    inners=[message("Everything"), message("Everything", any=own(JOB))],
    inner_by_number={-7: message("Everything", any=own(JOB))},
    ratio=float("nan"),
    wrapped=known("Int64Value", value=2**53 + 1),
    value=known("Value", null_value=struct_pb2.NULL_VALUE),
    job=message("Job", progress_percent=100),
    colors=[1, 0, 99],
    words={True: "yes", False: "no"},
)
EVERYTHING_JSON = {
    "@type": GOOGLE + "shapes.v1.Everything",
    "big": "-9223372036854775808",
    "huge": "18446744073709551615",
    "color": "BLUE",
    "raw": "AP/+",
    "duration": "-1.500s",
    "time": "1970-01-01T00:00:01.000000001Z",
    "free": {"list": [None, 1.5, 1e300, True]},
    "nothing": {},
    "any": JOB_JSON,
    "anys": [
        {"@type": GOOGLE + "google.protobuf.Duration", "value": "3s"},
        {"@type": GOOGLE + "google.protobuf.Empty"},
    ],
    "anyByName": {"job": JOB_JSON},
    "inner": {"word": ""},
    "inners": [{}, {"any": JOB_JSON}],
    "innerByNumber": {"-7": {"any": JOB_JSON}},
    "ratio": "NaN",
    "wrapped": "9007199254740993",
    "value": None,
    "job": {"progressPercent": 100},
    "colors": ["RED", "COLOR_UNSPECIFIED", 99],
    "words": {"true": "yes", "false": "no"},
}
SECRET = any_pb2.Any(type_url=GOOGLE + "acme.v1.Secret", value=b"\x01\x02\xff")
OWN_SECRET = known("Any", type_url=SECRET.type_url, value=SECRET.value)
SECRET_JSON = lossless(SECRET, unknown("acme.v1.Secret", "reflection"))
CORRUPT = any_pb2.Any(type_url=GOOGLE + "shapes.v1.Job", value=b"\x0a\xff")
LATIN = any_pb2.Any(type_url=GOOGLE + "shapes.v1.Job", value=b"\x1a\x01\xe9")
NO_DATE = packed(message("Job", create_time=known("Timestamp", seconds=2**62)))

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "running": (running(), {"name": "jobs/1", "done": False}),
    "running with metadata": (
        running(metadata=packed(JOB)),
        {"name": "jobs/1", "metadata": JOB_JSON, "done": False},
    ),
    "done without response or error": (
        operations_pb2.Operation(name="jobs/1", done=True),
        {"name": "jobs/1", "done": True},
    ),
    "done with response and metadata": (
        operations_pb2.Operation(
            name="jobs/1", done=True, metadata=packed(JOB), response=packed(JOB)
        ),
        {"name": "jobs/1", "metadata": JOB_JSON, "done": True, "response": JOB_JSON},
    ),
    "done without a name": (
        operations_pb2.Operation(done=True, response=packed(JOB)),
        {"name": "", "done": True, "response": JOB_JSON},
    ),
    "failed": (
        failed(15, "the disk is gone"),
        {"name": "jobs/1", "done": True, "error": {"code": 15, "message": "the disk is gone"}},
    ),
    "failed with a code of its own": (
        failed(1007, "out of luck"),
        {"name": "jobs/1", "done": True, "error": {"code": 1007, "message": "out of luck"}},
    ),
    "cancelled": (
        failed(1, "cancelled"),
        {"name": "jobs/1", "done": True, "error": {"code": 1, "message": "cancelled"}},
    ),
    "failed with details": (
        failed(
            9,
            "no",
            packed(error_details_pb2.ErrorInfo(reason="FULL", domain="acme", metadata={"a": "b"})),
            packed(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=5))),
            packed(JOB),
            SECRET,
        ),
        {
            "name": "jobs/1",
            "done": True,
            "error": {
                "code": 9,
                "message": "no",
                "details": [
                    {
                        "@type": GOOGLE + "google.rpc.ErrorInfo",
                        "reason": "FULL",
                        "domain": "acme",
                        "metadata": {"a": "b"},
                    },
                    {"@type": GOOGLE + "google.rpc.RetryInfo", "retryDelay": "5s"},
                    JOB_JSON,
                    SECRET_JSON,
                ],
            },
        },
    ),
    "a payload of everything": (responded(packed(EVERYTHING)), response_json(EVERYTHING_JSON)),
    "an empty Any": (responded(any_pb2.Any()), response_json({})),
    "Empty": (
        responded(packed(empty_pb2.Empty())),
        response_json({"@type": GOOGLE + "google.protobuf.Empty"}),
    ),
    "Duration": (
        responded(packed(duration_pb2.Duration(seconds=1, nanos=1))),
        response_json({"@type": GOOGLE + "google.protobuf.Duration", "value": "1.000000001s"}),
    ),
    "Timestamp": (
        responded(packed(timestamp_pb2.Timestamp(seconds=0))),
        response_json(
            {"@type": GOOGLE + "google.protobuf.Timestamp", "value": "1970-01-01T00:00:00Z"}
        ),
    ),
    "Struct": (
        responded(packed(struct_pb2.Struct(fields={"@type": struct_pb2.Value(number_value=1)}))),
        response_json({"@type": GOOGLE + "google.protobuf.Struct", "value": {"@type": 1.0}}),
    ),
    "Value": (
        responded(packed(struct_pb2.Value(null_value=struct_pb2.NULL_VALUE))),
        response_json({"@type": GOOGLE + "google.protobuf.Value", "value": None}),
    ),
    "ListValue": (
        responded(packed(struct_pb2.ListValue(values=[struct_pb2.Value(string_value="a")]))),
        response_json({"@type": GOOGLE + "google.protobuf.ListValue", "value": ["a"]}),
    ),
    "FieldMask": (
        responded(packed(field_mask_pb2.FieldMask(paths=["a_b.c", "d"]))),
        response_json({"@type": GOOGLE + "google.protobuf.FieldMask", "value": "aB.c,d"}),
    ),
    "Int64Value": (
        responded(packed(wrappers_pb2.Int64Value(value=2**53 + 1))),
        response_json(
            {"@type": GOOGLE + "google.protobuf.Int64Value", "value": "9007199254740993"}
        ),
    ),
    "BytesValue": (
        responded(packed(wrappers_pb2.BytesValue(value=b"\xff"))),
        response_json({"@type": GOOGLE + "google.protobuf.BytesValue", "value": "/w=="}),
    ),
    "Any in Any": (
        responded(in_anys(packed(JOB), 2)),
        response_json(
            {
                "@type": GOOGLE + "google.protobuf.Any",
                "value": {"@type": GOOGLE + "google.protobuf.Any", "value": JOB_JSON},
            }
        ),
    ),
    "an unknown type": (responded(SECRET), response_json(SECRET_JSON)),
    "unknown metadata beside a known response": (
        operations_pb2.Operation(name="jobs/1", done=True, metadata=SECRET, response=packed(JOB)),
        {"name": "jobs/1", "metadata": SECRET_JSON, "done": True, "response": JOB_JSON},
    ),
    "an unknown type in a known one": (
        responded(packed(message("Everything", any=OWN_SECRET, anys=[own(JOB), OWN_SECRET]))),
        response_json(
            {
                "@type": GOOGLE + "shapes.v1.Everything",
                "any": SECRET_JSON,
                "anys": [JOB_JSON, SECRET_JSON],
            }
        ),
    ),
    "corrupt bytes": (
        responded(CORRUPT),
        response_json(lossless(CORRUPT, "the bytes are not a shapes.v1.Job")),
    ),
    "a string that is not UTF-8": (
        responded(LATIN),
        response_json(lossless(LATIN, "the bytes are not a shapes.v1.Job")),
    ),
    "another host": (
        responded(any_pb2.Any(type_url="x.test/a/shapes.v1.Job", value=JOB.SerializeToString())),
        response_json({**JOB_JSON, "@type": "x.test/a/shapes.v1.Job"}),
    ),
}


def _source_of_shapes(source: str, tmp_path: Path) -> tuple[tuple[str, ...], list[str]]:
    """Return the versions of reflection that the backend serves, and the configured sources."""
    if source.startswith("reflection"):
        return (source.removeprefix("reflection "),), ["reflection"]
    if source == "file":
        file = tmp_path / "shapes.binpb"
        file.write_bytes(descriptor_set().SerializeToString())
        return (), [str(file)]
    return (), ["module:shapes_pb2"] if source == "module" else []


SOURCES = ("reflection v1", "reflection v1alpha", "file", "module", "none")


@pytest.fixture(scope="module")
def installed_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make the generated code of `tests.shapes` importable as `shapes_pb2`."""
    directory = tmp_path_factory.mktemp("installed")
    generate_code(directory, *FILES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(directory)
        yield


@asynccontextmanager
async def face_of(
    kind: FaceName, source: str, operations: dict[str, Any], tmp_path: Path
) -> AsyncIterator[Face]:
    """Open a face of a gateway that gets the types of `tests.shapes` from this source."""

    async def get(request: Any, _context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        answer: Message = operations[request.name]
        return answer

    versions, descriptors = _source_of_shapes(source, tmp_path)
    async with (
        ContraryBackend.open(
            {"GetOperation": get}, reflection_versions=versions, pool=pool()
        ) as backend,
        opened(kind, {"name": "b", "target": backend.target, "descriptors": descriptors}) as client,
    ):
        yield client


@pytest.fixture(scope="module", params=FACES)
async def client_of_cases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Face]:
    """Open one face of a gateway whose backend has an operation for each case."""
    operations = {f"cases/{case}": operation for case, (operation, _) in CASES.items()}
    directory = tmp_path_factory.mktemp("cases")
    async with face_of(request.param, "reflection v1", operations, directory) as client:
        yield client


@pytest.mark.parametrize("case", CASES)
async def test_each_shape_of_operation_is_printed_as_protojson(
    client_of_cases: Face, case: str
) -> None:
    """`name` and `done` are always there, and an unreadable payload has the lossless form."""
    assert await client_of_cases.get(f"cases/{case}") == CASES[case][1]


@pytest.mark.usefixtures("installed_module")
@pytest.mark.parametrize("source", SOURCES[:-1])
@pytest.mark.parametrize("kind", FACES)
async def test_each_source_of_descriptors_gives_the_same_payloads(
    kind: FaceName, source: str, tmp_path: Path
) -> None:
    """The sources are reflection v1, reflection v1alpha, a descriptor set and a module."""
    cases = {
        "plain": packed(JOB),
        "everything": packed(EVERYTHING),
        "deep": in_anys(packed(JOB), 1),
    }
    operations = {name: responded(payload) for name, payload in cases.items()}
    async with face_of(kind, source, operations, tmp_path) as client:
        assert {name: await client.get(name) for name in cases} == {
            "plain": response_json(JOB_JSON),
            "everything": response_json(EVERYTHING_JSON),
            "deep": response_json({"@type": GOOGLE + "google.protobuf.Any", "value": JOB_JSON}),
        }


@pytest.mark.parametrize("kind", FACES)
async def test_without_descriptors_payloads_have_the_lossless_form(
    kind: FaceName, tmp_path: Path
) -> None:
    """Name, done and well-known types are readable. Other payloads are base64 with a reason."""
    operations = {
        "running": operations_pb2.Operation(name="running", metadata=packed(JOB)),
        "done": operations_pb2.Operation(
            name="done", done=True, metadata=packed(empty_pb2.Empty()), response=packed(EVERYTHING)
        ),
    }
    async with face_of(kind, "none", operations, tmp_path) as client:
        assert {name: await client.get(name) for name in operations} == {
            "running": {
                "name": "running",
                "metadata": lossless(packed(JOB), unknown("shapes.v1.Job")),
                "done": False,
            },
            "done": {
                "name": "done",
                "metadata": {"@type": GOOGLE + "google.protobuf.Empty"},
                "done": True,
                "response": lossless(packed(EVERYTHING), unknown("shapes.v1.Everything")),
            },
        }


@pytest.mark.parametrize("kind", FACES)
async def test_an_any_past_the_nesting_limit_stays_encoded(kind: FaceName, tmp_path: Path) -> None:
    """The levels above the limit are readable, and the lossless form has the levels below it."""
    innermost = packed(JOB)
    operations = {"deep": responded(in_anys(innermost, 200))}
    async with face_of(kind, "reflection v1", operations, tmp_path) as client:
        answer = await client.get("deep")
    level, depth = answer["response"], 0
    while "value" in level:
        level, depth = level["value"], depth + 1
    assert depth == 65
    assert level == lossless(in_anys(innermost, 200 - depth), "nested deeper than 64 levels")


@pytest.mark.parametrize("kind", FACES)
async def test_an_operation_is_readable_if_its_payload_has_no_json_form(
    kind: FaceName, tmp_path: Path
) -> None:
    """A Timestamp out of its range, or an infinite number in a Struct, has no ProtoJSON."""
    infinite = packed(struct_pb2.Struct(fields={"x": struct_pb2.Value(number_value=float("inf"))}))
    unset = packed(struct_pb2.ListValue(values=[struct_pb2.Value()]))
    payloads = {"date": NO_DATE, "infinite": infinite}
    operations = {name: responded(payload) for name, payload in payloads.items()}
    async with face_of(
        kind, "reflection v1", operations | {"unset": responded(unset)}, tmp_path
    ) as client:
        for name, payload in payloads.items():
            answer = await client.get(name)
            reason = answer["response"]["@error"]
            assert reason.startswith("the payload has no JSON form: ")
            assert answer == response_json(lossless(payload, reason))
        assert (await client.get("unset"))["done"] is True


@pytest.mark.parametrize("kind", FACES)
async def test_an_operation_is_readable_if_a_type_url_is_malformed(
    kind: FaceName, tmp_path: Path
) -> None:
    """The call succeeds, and the lossless form has the bytes of the payload."""
    urls = ["", "type.googleapis.com/", "/", "a/b c", "x/..", "x/a." + "b" * 600, "x/\u00e9"]
    payloads = [any_pb2.Any(type_url=url, value=JOB.SerializeToString()) for url in urls]
    operations = {f"jobs/{i}": responded(payload) for i, payload in enumerate(payloads)}
    async with face_of(kind, "reflection v1", operations, tmp_path) as client:
        answers = [await client.get(name) for name in operations]
    reasons = [answer["response"]["@error"] for answer in answers]
    assert all(reasons)
    assert answers == [
        response_json(lossless(payload, reason))
        for payload, reason in zip(payloads, reasons, strict=True)
    ]


@pytest.mark.parametrize("kind", FACES)
async def test_a_type_url_may_lack_its_host(kind: FaceName, tmp_path: Path) -> None:
    """The type's name is the part of the type URL after the last slash."""
    payload = any_pb2.Any(type_url="shapes.v1.Job", value=JOB.SerializeToString())
    async with face_of(kind, "reflection v1", {"x": responded(payload)}, tmp_path) as client:
        assert await client.get("x") == response_json({**JOB_JSON, "@type": "shapes.v1.Job"})


@pytest.mark.parametrize("kind", FACES)
async def test_list_prints_its_operations_as_get_does(kind: FaceName) -> None:
    """The operations of a page are readable although some of them have unreadable payloads."""
    answer = operations_pb2.ListOperationsResponse(
        operations=[operation for operation, _ in CASES.values()]
    )
    async with (
        ContraryBackend.open(
            {"ListOperations": answering(answer)}, reflection_versions=("v1",), pool=pool()
        ) as backend,
        opened(kind, {"name": "b", "target": backend.target}) as client,
    ):
        assert await client.list() == {"operations": [expected for _, expected in CASES.values()]}

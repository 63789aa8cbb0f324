"""Starts: the request to the backend, the answer to the caller, and no lost operations."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import grpc
import httpx
import pytest
from google.api import annotations_pb2, field_behavior_pb2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.channel import Endpoint, open_channel
from lro_gateway.background import BackgroundTasks
from lro_gateway.config.models import GatewayConfig
from lro_gateway.descriptors.printing import JsonOptions
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.errors import Code, StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.operations.names import GatewayName
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.budget import Budgets
from lro_gateway.service.journaling import Journaling
from lro_gateway.service.offer_rules import OfferRules
from lro_gateway.service.preparing import Prepared
from lro_gateway.service.reads import Reads
from lro_gateway.service.service import OperationService
from lro_gateway.service.shutdown import Shutdown
from lro_gateway.service.starting import Started, Starts
from lro_gateway.service.verb_requests import StartRequest
from lro_gateway.service.waiting import Waits
from lro_gateway.service.watches import Watches
from tests import factory, gateways
from tests.contrary import ContraryBackend, Handler, answering, refusing
from tests.strange import Strange

NAME = "lines/1/operations/7"
RUNNING = operations_pb2.Operation(name=NAME)
DONE = operations_pb2.Operation(name=NAME, done=True)
BUILD = "factory.v1.Factory/BuildMachine"
OVERHAUL = "factory.v1.Factory/Overhaul"
GET = "factory.v1.Factory/GetMachine"
MACHINE = {"parent": "lines/1", "machine": {"title": "t"}}


@asynccontextmanager
async def gateway(
    *backends: ContraryBackend, grace: str = "0s", **settings: Any
) -> AsyncIterator[OperationService]:
    """Open a gateway to backends `b0`, `b1`, ... with the same settings; yields its service."""
    config = {
        "server": {"sync_grace": grace},
        "backends": [
            {"name": f"b{index}", "target": backend.target, "methods": ["*"], **settings}
            for index, backend in enumerate(backends)
        ],
    }
    async with Gateway.open(GatewayConfig.model_validate(config)) as opened:
        yield opened.service


@asynccontextmanager
async def serving(
    methods: Mapping[str, Handler],
    operations: Mapping[str, Handler] | None = None,
    pool: DescriptorPool | None = None,
) -> AsyncIterator[ContraryBackend]:
    """Serve methods of the factory, or of another pool."""
    async with ContraryBackend.open(
        operations or {},
        methods=methods,
        pool=pool or factory.pool(),
        reflection_versions=("v1",),
    ) as backend:
        yield backend


async def start(
    service: OperationService, path: str, arguments: Mapping[str, Any], backend: str = ""
) -> Started:
    """Call a method as an anonymous caller."""
    offer = await gateways.offer_of(service, path.replace("/", "."))
    request = StartRequest(offer, arguments, backend)
    return await service.start(ANONYMOUS, request)


async def refused(
    service: OperationService, path: str, arguments: Mapping[str, Any], backend: str = ""
) -> StatusError:
    """Return the error of a call that must fail."""
    with pytest.raises(StatusError) as caught:
        await start(service, path, arguments, backend)
    return caught.value


def after(count: int, first: Handler, then: Handler) -> Handler:
    """Return a handler that uses `first` for its first `count` calls, and `then` for the rest."""
    calls = iter([first] * count)

    async def handler(request: Any, context: Any) -> Any:
        return await next(calls, then)(request, context)

    return handler


UNAVAILABLE = refusing(grpc.StatusCode.UNAVAILABLE, "try later")


async def test_the_backend_gets_the_request_and_the_caller_the_operation() -> None:
    """Arguments are ProtoJSON, and the routing header has the resource that the path names."""
    async with serving({BUILD: answering(RUNNING)}) as backend, gateway(backend) as service:
        started = await start(
            service,
            BUILD,
            {
                "parent": "lines/1 a",
                "machine": {"title": "t", "engine": {"power": "9007199254740993"}},
                "requestId": "mine",
                "extra": {"@type": "x/factory.v1.Engine", "power": 1},
            },
        )
    (call,) = [call for call in backend.calls if call.method == "BuildMachine"]
    extra = factory.message(
        "google.protobuf.Any", type_url="x/factory.v1.Engine", value=b"\x08\x01"
    )
    assert call.request == factory.message(
        "BuildMachineRequest",
        parent="lines/1 a",
        machine=factory.message(
            "Machine", title="t", engine=factory.message("Engine", power=2**53 + 1)
        ),
        request_id="mine",
        extra=extra,
    )
    assert call.metadata["x-goog-request-params"] == "parent=lines%2F1%20a"
    assert started.operation is not None
    assert started.operation.to_json() == {"name": NAME, "done": False}
    assert (started.response, started.request_id) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"machine": {"engine": {"power": "much"}}}, "machine.engine.power"),
        ({"machine": {"parts": {"p": {"weight": []}}}}, "machine.parts.p.weight"),
        ({"machine": {"crank": "c", "engine": {}}}, "machine.engine"),
        ({"nothing": 1}, "nothing"),
        ({"extra": {"@type": "x/no.Such"}}, "extra"),
        ({"extra": {"@type": "x/factory.v1.Engine", "power": {}}}, "extra.power"),
    ],
)
async def test_a_wrong_argument_is_named_by_its_path(arguments: dict[str, Any], field: str) -> None:
    """The backend is not called."""
    async with serving({BUILD: answering(RUNNING)}) as backend, gateway(backend) as service:
        error = await refused(service, BUILD, arguments)
        problem = error_details_pb2.BadRequest()
        assert error.status.details[1].Unpack(problem)
        assert (error.code, problem.field_violations[0].field) == (Code.INVALID_ARGUMENT, field)
        assert backend.count("BuildMachine") == 0


async def test_an_empty_request_id_is_filled_in_and_returned() -> None:
    """The gateway uses a UUID of version 4 (AIP-155)."""
    async with serving({BUILD: answering(RUNNING)}) as backend, gateway(backend) as service:
        started = await start(service, BUILD, {**MACHINE, "requestId": ""})
        (sent,) = [call.request.request_id for call in backend.calls if call.method[0] == "B"]
        assert sent == started.request_id
        assert uuid.UUID(sent).version == 4


async def test_a_start_is_repeated_with_the_same_request_id_while_unavailable() -> None:
    """The request_id lets the backend start the operation only once."""
    handler = after(2, UNAVAILABLE, answering(RUNNING))
    async with serving({BUILD: handler}) as backend, gateway(backend) as service:
        started = await start(service, BUILD, MACHINE)
        sent = [c.request.request_id for c in backend.calls if c.method == "BuildMachine"]
        assert sent == [started.request_id] * 3


async def test_a_start_without_a_request_id_is_never_repeated() -> None:
    """A second call might start a second operation."""
    async with serving({OVERHAUL: UNAVAILABLE}) as backend, gateway(backend) as service:
        error = await refused(service, OVERHAUL, {})
        assert (error.code, error.message) == (Code.UNAVAILABLE, "try later")
        assert backend.count("Overhaul") == 1


@pytest.mark.parametrize("arguments", [{}, {"requestId": "mine"}])
@pytest.mark.parametrize("patterns", [(), ("other.*",), ("strange.Strange/*",)])
async def test_a_request_id_that_declares_no_format_allows_a_repeat_only_by_configuration(
    arguments: dict[str, str], patterns: tuple[str, ...]
) -> None:
    """The field is filled in all the same, because AIP-155 gives every `request_id` a meaning."""
    path = "strange.Strange/Plain"
    is_configured = "strange.Strange/*" in patterns
    handler = after(1, UNAVAILABLE, answering(RUNNING))
    async with (
        serving({path: handler}, pool=request_ids()) as backend,
        gateway(backend, request_ids=patterns) as service,
    ):
        if is_configured:
            assert (await start(service, path, arguments)).operation is not None
        else:
            assert (await refused(service, path, arguments)).message == "try later"
    sent = [call.request.request_id for call in backend.calls if call.method == "Plain"]
    assert len(sent) == 1 + is_configured
    assert len(set(sent)) == 1
    assert uuid.UUID(sent[0]).version == 4 if not arguments else sent[0] == "mine"


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("InPath", {"requestId": "r"}), ("Required", {"requestId": "r"}), ("OutputOnly", {})],
)
async def test_no_pattern_makes_an_idempotency_key_of_a_field_with_another_meaning(
    method: str, arguments: dict[str, str]
) -> None:
    """A pattern such as `pkg.Service/*` also matches methods that it does not mean."""
    path = f"strange.Strange/{method}"
    async with (
        serving({path: UNAVAILABLE}, pool=request_ids()) as backend,
        gateway(backend, request_ids=["*"]) as service,
    ):
        await refused(service, path, arguments)
        assert backend.count(method) == 1


async def test_each_backend_declares_its_own_request_id() -> None:
    """Two backends may serve different versions of one method."""
    newer = Strange()
    newer.file.dependency.append("google/api/field_behavior.proto")
    field = newer.message("Plain", "request_id", "name").field[0]
    field.options.Extensions[field_behavior_pb2.field_behavior].append(field_behavior_pb2.REQUIRED)
    newer.method("Plain", "strange.Plain")
    path = "strange.Strange/Plain"
    async with (
        serving({path: answering(RUNNING)}, pool=request_ids()) as first,
        serving({path: answering(RUNNING)}, pool=newer.pool()) as second,
        gateway(first, second) as service,
    ):
        assert (await start(service, path, {}, "b0")).request_id is not None
        assert (await start(service, path, {"requestId": "r"}, "b1")).request_id is None
        missing = await refused(service, path, {}, "b1")
    assert (missing.message, missing.reason) == ("requestId: is required", "REQUIRED_FIELD")
    (call,) = second.answered
    assert call.request.request_id == "r"


@cache
def request_ids() -> DescriptorPool:
    """Return a pool of methods whose `request_id` is not an idempotency key."""
    strange = Strange()
    strange.file.dependency.append("google/api/field_behavior.proto")
    behaviors = {
        "Required": field_behavior_pb2.REQUIRED,
        "OutputOnly": field_behavior_pb2.OUTPUT_ONLY,
    }
    for name in ("InPath", "InAnotherPath", "InAWrongPath", "InABrokenPath", *behaviors, "Choice"):
        field = strange.message(name, "request_id", "name").field[0]
        if name in behaviors:
            of_field = field.options.Extensions[field_behavior_pb2.field_behavior]
            of_field.append(behaviors[name])
    choice = strange.file.message_type[-1]
    choice.oneof_decl.add(name="either")
    for field in choice.field:
        field.oneof_index = 0
    replay = "/v1/requests/{request_id}:replay"
    strange.message("Plain", "request_id", "name")
    strange.method("Plain", "strange.Plain")
    strange.method("Change", "strange.Plain", "strange.Plain")
    strange.method("Required", "strange.Required")
    strange.method("OutputOnly", "strange.OutputOnly")
    strange.method("Choice", "strange.Choice")
    strange.method("InPath", "strange.InPath", post=replay)
    strange.method("InAnotherPath", "strange.InAnotherPath", post="/v1/replay", body="*")
    rule = strange.service.method[-1].options.Extensions[annotations_pb2.http]
    rule.additional_bindings.add(post="/v1/requests/{requestId=**}")
    strange.method("InAWrongPath", "strange.InAWrongPath", post=replay, body="no_such_field")
    strange.method("InABrokenPath", "strange.InABrokenPath", post="v1/{request_id}")
    return strange.pool()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("InPath", {"requestId": "r"}),
        ("InAnotherPath", {"requestId": "r"}),
        ("InAWrongPath", {"requestId": "r"}),
        ("InABrokenPath", {"requestId": "r"}),
        ("InABrokenPath", {}),
        ("Required", {"requestId": "r"}),
        ("OutputOnly", {"requestId": "r"}),
        ("Choice", {"requestId": "r"}),
        ("InPath", {}),
        ("InAnotherPath", {}),
        ("OutputOnly", {}),
        ("Choice", {"name": "n"}),
    ],
)
async def test_a_request_id_with_another_meaning_is_not_filled_in_and_allows_no_retry(
    method: str, arguments: dict[str, str]
) -> None:
    """Such a field names a resource, is required, or is set by the backend.

    AIP-155 does not describe such fields. If it is required, a call without it is refused.
    """
    path = f"strange.Strange/{method}"
    async with (
        serving({path: UNAVAILABLE}, pool=request_ids()) as backend,
        gateway(backend) as service,
    ):
        error = await refused(service, path, arguments)
    (call,) = [call for call in backend.calls if call.method == method]
    assert (error.code, error.message) == (Code.UNAVAILABLE, "try later")
    assert call.request.request_id == arguments.get("requestId", "")
    assert call.request.name == arguments.get("name", "")


async def test_other_failures_are_not_repeated() -> None:
    """The gateway repeats a call only after UNAVAILABLE."""
    handler = refusing(grpc.StatusCode.ABORTED, "another one is being built")
    async with serving({BUILD: handler}) as backend, gateway(backend) as service:
        error = await refused(service, BUILD, MACHINE)
        assert (error.code, error.message) == (Code.ABORTED, "another one is being built")
        assert backend.count("BuildMachine") == 1


async def test_a_plain_method_answers_with_its_response(caplog: pytest.LogCaptureFixture) -> None:
    """A method that changes nothing is called again after UNAVAILABLE, and leaves no line."""
    caplog.set_level("INFO", "lro_gateway.service.service")
    machine = factory.message("Machine", name="m", state=1)
    handler = after(1, UNAVAILABLE, answering(machine))
    async with serving({GET: handler}) as backend, gateway(backend) as service:
        started = await start(service, GET, {"name": "m"})
        assert started.response.to_json() == {"name": "m", "state": "RUNNING"}
        assert started.response.to_json(JsonOptions(enum_numbers=True)) == {"name": "m", "state": 1}
        assert (started.operation, started.request_id) == (None, None)
        assert backend.count("GetMachine") == 2
    assert "call of" not in caplog.text


async def test_an_operation_that_ends_within_the_grace_is_answered_as_done() -> None:
    """The caller needs no second call."""
    operations = {"GetOperation": answering(RUNNING), "WaitOperation": answering(DONE)}
    async with (
        serving({OVERHAUL: answering(RUNNING)}, operations) as backend,
        gateway(backend, grace="10s") as service,
    ):
        started = await start(service, OVERHAUL, {})
    assert started.operation is not None
    assert started.operation.done


async def test_an_operation_that_is_done_at_once_is_not_polled() -> None:
    """An operation without a name, which a validate_only request may return, is not polled."""
    nameless = operations_pb2.Operation(done=True)
    nameless.response.Pack(empty_pb2.Empty())
    handlers = {OVERHAUL: answering(DONE), BUILD: answering(nameless)}
    async with serving(handlers) as backend, gateway(backend, grace="10s") as service:
        done = await start(service, OVERHAUL, {})
        validated = await start(service, BUILD, {**MACHINE, "validateOnly": True})
        assert backend.count("GetOperation") == 0
    assert done.operation is not None
    assert done.operation.to_json() == {"name": NAME, "done": True}
    assert validated.operation is not None
    assert validated.operation.to_json() == {
        "name": "",
        "done": True,
        "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
    }


async def test_an_operation_that_cannot_be_polled_is_returned_as_it_started() -> None:
    """The caller gets the operation's name although the poll fails."""
    operations = {"GetOperation": refusing(grpc.StatusCode.NOT_FOUND, "not yet there")}
    async with (
        serving({OVERHAUL: answering(RUNNING)}, operations) as backend,
        gateway(backend, grace="10s") as service,
    ):
        started = await start(service, OVERHAUL, {})
    assert started.operation is not None
    assert started.operation.to_json() == {"name": NAME, "done": False}


async def test_a_start_whose_poll_hangs_is_answered_soon_after_the_grace() -> None:
    """The answer does not wait for the backend's deadline of 600 seconds."""

    async def forever(_request: Any, _context: Any) -> Any:
        await asyncio.Event().wait()

    async with (
        serving({OVERHAUL: answering(RUNNING)}, {"GetOperation": forever}) as backend,
        gateway(backend, grace="0.01s", deadline="600s") as service,
    ):
        started = await start(service, OVERHAUL, {})
    assert started.operation is not None
    assert started.operation.to_json() == {"name": NAME, "done": False}


async def test_an_operation_whose_caller_leaves_while_it_starts_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call goes on to its end, even if the gateway closes in the meantime."""
    called, answer = asyncio.Event(), asyncio.Event()

    async def slow(_request: Any, _context: Any) -> Any:
        called.set()
        await answer.wait()
        return RUNNING

    async with serving({OVERHAUL: slow}) as backend, gateway(backend) as service:
        call = asyncio.create_task(start(service, OVERHAUL, {}))
        await called.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        answer.set()
    assert f"the caller of {OVERHAUL} on b0 left: {NAME}" in caplog.messages


async def test_a_failure_whose_caller_left_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """No caller is left to get the error."""
    called, answer = asyncio.Event(), asyncio.Event()

    async def slow(request: Any, context: Any) -> Any:
        called.set()
        await answer.wait()
        return await refusing(grpc.StatusCode.ABORTED, "no")(request, context)

    async with serving({OVERHAUL: slow}) as backend, gateway(backend) as service:
        call = asyncio.create_task(start(service, OVERHAUL, {}))
        await called.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        answer.set()
    assert f"the caller of {OVERHAUL} on b0 left: ABORTED: no" in caplog.messages


async def test_an_operation_whose_caller_leaves_during_the_grace_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The operation has started, and the caller has not got its name."""
    waiting = asyncio.Event()

    async def forever(_request: Any, _context: Any) -> Any:
        waiting.set()
        await asyncio.Event().wait()

    operations = {"GetOperation": answering(RUNNING), "WaitOperation": forever}
    async with (
        serving({OVERHAUL: answering(RUNNING)}, operations) as backend,
        gateway(backend, grace="30s") as service,
    ):
        call = asyncio.create_task(start(service, OVERHAUL, {}))
        await waiting.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert f"the caller of {OVERHAUL} on b0 left: {NAME}" in caplog.messages


async def forever(_request: Any, _context: Any) -> Any:
    """Never answer."""
    await asyncio.Event().wait()


async def test_a_call_that_is_not_answered_when_the_gateway_stops_fails_for_its_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error comes long before the backend's deadline, and has the request_id for a retry.

    The gateway logs that it cancelled the call.
    """
    monkeypatch.setattr("lro_gateway.service.starting._SHUTDOWN_GRACE", 0.0)
    monkeypatch.setattr("lro_gateway.gateway.CALLS_GRACE", timedelta())
    called = asyncio.Event()

    async def hanging(request: Any, context: Any) -> Any:
        called.set()
        await forever(request, context)

    async with serving({BUILD: hanging}) as backend, asyncio.timeout(60):
        settings = {"name": "b0", "target": backend.target, "methods": ["*"], "deadline": "600s"}
        served = gateways.serving(settings)
        url = await served.__aenter__()
        async with httpx.AsyncClient(base_url=url) as client:
            call = asyncio.create_task(client.post("/v1/lines/1/machines", json={"title": "t"}))
            await called.wait()
            stopping = asyncio.create_task(served.__aexit__(None, None, None))
            error = (await call).json()["error"]
        await stopping
    assert (error["code"], error["status"]) == (503, "UNAVAILABLE")
    (info,) = error["details"]
    (sent,) = [each.request for each in backend.calls if each.method == "BuildMachine"]
    assert (info["reason"], info["metadata"]["request_id"]) == (
        "GATEWAY_SHUTTING_DOWN",
        sent.request_id,
    )
    assert f"the caller of {BUILD} on b0 left: the gateway cancelled the call" in caplog.text


async def test_a_call_whose_caller_has_an_error_may_still_end_when_the_gateway_closes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log then has the operation's name, which would otherwise be lost."""
    monkeypatch.setattr("lro_gateway.service.starting._SHUTDOWN_GRACE", 0.0)
    called, answer = asyncio.Event(), asyncio.Event()

    async def slow(_request: Any, _context: Any) -> Any:
        called.set()
        await answer.wait()
        return RUNNING

    async with serving({OVERHAUL: slow}) as backend, gateway(backend) as service:
        call = asyncio.create_task(refused(service, OVERHAUL, {}))
        await called.wait()
        service.close()
        assert (await call).reason == "GATEWAY_SHUTTING_DOWN"
        answer.set()
    assert f"the caller of {OVERHAUL} on b0 left: {NAME}" in caplog.messages


async def test_a_method_of_several_backends_needs_the_argument_backend() -> None:
    """Without it the call fails, and the error names the backends."""
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(serving({OVERHAUL: answering(RUNNING)}))
            for _ in range(2)
        ]
        service = await stack.enter_async_context(gateway(*backends))
        error = await refused(service, OVERHAUL, {})
        assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "BACKEND_NEEDED")
        assert "b0, b1" in error.message
        unknown = await refused(service, OVERHAUL, {}, "b2")
        assert (unknown.reason, "there are: b0, b1" in unknown.message) == ("UNKNOWN_BACKEND", True)
        started = await start(service, OVERHAUL, {}, "b1")
        assert started.operation is not None
        assert started.operation.backend == "b1"
        assert [backend.count("Overhaul") for backend in backends] == [0, 1]


@cache
def old_pool() -> DescriptorPool:
    """Return a pool with a proto2 request, and with requests whose JSON is not an object."""
    file = FileDescriptorProto(
        name="old.proto",
        package="old.v1",
        syntax="proto2",
        dependency=["google/longrunning/operations.proto", "google/protobuf/wrappers.proto"],
    )
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="word", number=1, type=9, label=2)
    request = file.message_type.add(name="StartRequest")
    request.field.add(name="inner", number=1, type=11, type_name=".old.v1.Inner", label=2)
    service = file.service.add(name="Old")
    service.method.add(
        name="Start",
        input_type=".old.v1.StartRequest",
        output_type=".google.longrunning.Operation",
    )
    text = ".google.protobuf.StringValue"
    service.method.add(name="Say", input_type=text, output_type=text)
    # In Python this field hides the attribute DESCRIPTOR of a message.
    hiding = file.message_type.add(name="Hiding")
    hiding.field.add(name="DESCRIPTOR", number=1, type=9, label=1)
    service.method.add(name="Hide", input_type=".old.v1.Hiding", output_type=text)
    service.method.add(name="Seek", input_type=text, output_type=".old.v1.Hiding")
    pool = DescriptorPool()
    for each in factory.descriptor_set().file[:-1]:
        pool.Add(each)
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return pool


async def test_a_proto2_request_is_refused_without_its_required_fields() -> None:
    """The error names the path of the missing field."""
    handlers = {"old.v1.Old/Start": answering(RUNNING)}
    async with serving(handlers, pool=old_pool()) as backend, gateway(backend) as service:
        assert "inner: is required" in (await refused(service, "old.v1.Old/Start", {})).message
        error = await refused(service, "old.v1.Old/Start", {"inner": {}})
        assert (error.message, error.reason) == ("inner.word: is required", "REQUIRED_FIELD")
        started = await start(service, "old.v1.Old/Start", {"inner": {"word": "w"}})
        assert started.operation is not None


async def test_a_request_whose_json_is_not_an_object_is_the_argument_value() -> None:
    """The method's schema has the same argument `value`."""
    handlers = {"old.v1.Old/Say": answering(wrappers_pb2.StringValue(value="back"))}
    async with serving(handlers, pool=old_pool()) as backend, gateway(backend) as service:
        started = await start(service, "old.v1.Old/Say", {"value": "there"})
        assert started.response.to_json() == "back"
        (call,) = [call for call in backend.calls if call.method == "Say"]
        assert call.request.value == "there"
        missing = await refused(service, "old.v1.Old/Say", {})
        assert (missing.message, missing.reason) == ("value: is required", "REQUIRED_FIELD")
        wrong = await refused(service, "old.v1.Old/Say", {"value": 5})
        assert wrong.message == "value: a string is needed, not 5"
        unknown = await refused(service, "old.v1.Old/Say", {"value": "there", "to": "you"})
        assert (unknown.reason, backend.count("Say")) == ("UNKNOWN_FIELD", 1)


async def test_a_message_that_python_cannot_print_or_parse_fails_only_its_call() -> None:
    """The error has the reason, and the gateway serves later calls."""
    handlers = {
        "old.v1.Old/Hide": answering(wrappers_pb2.StringValue()),
        "old.v1.Old/Seek": answering(b"\x0a\x01d"),
        "old.v1.Old/Say": answering(wrappers_pb2.StringValue(value="back")),
    }
    async with serving(handlers, pool=old_pool()) as backend, gateway(backend) as service:
        sought = await start(service, "old.v1.Old/Seek", {"value": "d"})
        with pytest.raises(StatusError) as caught:
            sought.response.to_json()
        unprintable = caught.value
        assert unprintable.reason == "UNPRINTABLE_RESPONSE"
        assert unprintable.message.endswith(
            "its field DESCRIPTOR has a name that protobuf's Python library reserves"
        )
        unparsable = await refused(service, "old.v1.Old/Hide", {})
        assert unparsable.message == (
            "old.v1.Hiding: its field DESCRIPTOR has a name that protobuf's Python library reserves"
        )
        said = await start(service, "old.v1.Old/Say", {"value": "d"})
        assert said.response.to_json() == "back"


async def test_an_unexpected_exception_of_a_call_fails_only_that_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller gets INTERNAL, and the gateway's other tasks go on."""
    endpoint = Endpoint("b0", "127.0.0.1:1")
    channel = open_channel(endpoint)
    registry = TypeRegistry("b0", [])
    backend = Backend(
        endpoint, channel, registry, public_name=GatewayName, public_parent=GatewayName
    )
    prepared = Prepared(
        factory.method("Overhaul"), factory.message("OverhaulRequest"), None, OfferRules()
    )
    await channel.close(None)  # A call on a closed channel raises an error that is no gRPC error.
    shutdown, reads = Shutdown(), Reads()
    async with BackgroundTasks(timedelta(seconds=1)) as tasks:
        budgets = Budgets()
        waits = Waits(reads, Watches(tasks, reads, budgets, shutdown), budgets)
        starts = Starts(tasks, shutdown, waits, timedelta(seconds=1), Journaling())
        with pytest.raises(StatusError) as caught:
            await starts.start(ANONYMOUS, backend, prepared)
    assert (caught.value.code, caught.value.reason) == (Code.INTERNAL, "INTERNAL")
    assert "the call of a method failed" in caplog.messages


async def test_an_operation_that_began_is_in_the_log_before_its_types_are_looked_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up may take seconds, and may fail for a reason that nobody has foreseen."""
    caplog.set_level("INFO")
    operation = operations_pb2.Operation(name=NAME)
    operation.metadata.type_url = "type.googleapis.com/some.Thing"
    logged: list[bool] = []

    async def fail(_registry: Any, _names: Any) -> None:
        logged.append(f"started {OVERHAUL} on b0: {NAME}" in caplog.messages)
        raise RuntimeError("a fault")

    async with serving({OVERHAUL: answering(operation)}) as backend, gateway(backend) as service:
        await service.catalog.offers(wait_for_all=True)
        monkeypatch.setattr(TypeRegistry, "ensure", fail)
        started = await start(service, OVERHAUL, {})
    assert started.operation is not None
    assert started.operation.name == NAME
    assert logged == [True]

"""Health of backends: from grpc.health.v1, or from the latest call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from google.longrunning import operations_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.channel import Endpoint, open_channel
from lro_gateway.backends.health import Health, HealthCheck, HealthReport
from lro_gateway.config.models import GatewayConfig
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.errors import StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.operations.names import GatewayName
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.verb_requests import NameRequest
from tests.contrary import Answer, ContraryBackend
from tests.ports import unused_address

pytestmark = pytest.mark.usefixtures("_patient_health")

SERVING = health_pb2.HealthCheckResponse.SERVING


@asynccontextmanager
async def healthy(servicer: Any, metadata: list[Any] | None = None) -> AsyncIterator[str]:
    """Serve grpc.health.v1, and yield its address. Each call's metadata is added to `metadata`."""
    server = grpc.aio.server(interceptors=[_Recorder(metadata)] if metadata is not None else [])
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


class _Recorder(grpc.aio.ServerInterceptor):
    def __init__(self, metadata: list[Any]) -> None:
        self._metadata = metadata

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        self._metadata.append(dict(details.invocation_metadata))
        return await continuation(details)


def gateway_of(target: str, **settings: Any) -> Any:
    """Open a gateway to one backend."""
    backend = {"name": "b", "target": target, "descriptors": [], **settings}
    return Gateway.open(GatewayConfig.model_validate({"backends": [backend]}))


async def report_of(target: str, **settings: Any) -> HealthReport:
    """Return the health report of one backend."""
    async with gateway_of(target, **settings) as gateway:
        report: HealthReport = await gateway.health_checks[0].report()
        return report


async def test_a_backend_that_answers_serving_is_serving() -> None:
    """The gateway checks the health of the whole server, which has an empty service name."""
    servicer = health.aio.HealthServicer()
    await servicer.set("", SERVING)
    async with healthy(servicer) as target:
        assert await report_of(target) == HealthReport("b", target, Health.SERVING)


@pytest.mark.parametrize("status", ["NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN"])
async def test_a_backend_that_answers_another_status_is_not_serving(status: str) -> None:
    """An answer alone does not make a backend healthy."""
    servicer = health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.ServingStatus.Value(status))
    async with healthy(servicer) as target:
        report = await report_of(target)
    assert report == HealthReport(
        "b", target, Health.NOT_SERVING, "grpc.health.v1 did not answer SERVING"
    )


async def test_a_health_check_has_the_backends_metadata() -> None:
    """The health service may require the same credentials as the other services."""
    seen: list[dict[str, str]] = []
    servicer = health.aio.HealthServicer()
    await servicer.set("", SERVING)
    async with healthy(servicer, seen) as target:
        await report_of(target, metadata={"x-team": "infra"})
    assert seen
    assert all(metadata["x-team"] == "infra" for metadata in seen)


async def test_a_health_check_that_hangs_fails_at_its_deadline() -> None:
    """The deadline is two seconds, or the backend's own deadline if that is shorter."""

    class Hanging(health_pb2_grpc.HealthServicer):
        async def Check(self, *_: Any) -> Any:  # noqa: N802 - gRPC's name
            await asyncio.Event().wait()

    async with healthy(Hanging()) as target, asyncio.timeout(60):
        report = await report_of(target, deadline="1s")
    assert report.health is Health.UNREACHABLE
    assert "did not answer grpc.health.v1.Health/Check in time" in report.message


async def test_a_backend_without_a_health_service_that_answers_is_serving() -> None:
    """The answer UNIMPLEMENTED shows that the server runs."""
    async with ContraryBackend.open({}) as backend:
        report = await report_of(backend.target)
    assert report == HealthReport("b", backend.target, Health.SERVING)


async def test_the_latest_call_shows_the_health_of_a_backend_without_a_health_service() -> None:
    """A call that hung makes it unreachable, and a call that was answered makes it serving."""
    hang = True

    async def get(_request: Any, _context: Any) -> Answer:
        if hang:
            await asyncio.Event().wait()
        answer: Answer = operations_pb2.Operation(name="jobs/1")
        return answer

    async with (
        ContraryBackend.open({"GetOperation": get}) as backend,
        gateway_of(backend.target, deadline="2s") as gateway,
    ):
        check = gateway.health_checks[0]
        with pytest.raises(StatusError):
            await gateway.service.get(ANONYMOUS, NameRequest("jobs/1"))
        after_hanging = await check.report()
        hang, answered = False, None
        # A busy machine may need longer than the deadline.
        while answered is None:
            with suppress(StatusError):
                answered = await gateway.service.get(ANONYMOUS, NameRequest("jobs/1"))
        after_answering = await check.report()
    assert after_hanging.health is Health.UNREACHABLE
    assert "did not answer google.longrunning.Operations/GetOperation" in after_hanging.message
    assert after_answering == HealthReport("b", backend.target, Health.SERVING)


async def test_a_call_that_failed_long_ago_tells_nothing_of_a_backend_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A balancer that sends no calls to a gateway that is not ready would never hear of it."""
    monkeypatch.setattr("lro_gateway.backends.health._FRESH", 0.0)
    target = unused_address()
    async with gateway_of(target) as gateway:
        check = gateway.health_checks[0]
        with pytest.raises(StatusError):
            await gateway.service.get(ANONYMOUS, NameRequest("jobs/1"))
        assert (await check.report()).health is Health.UNREACHABLE
        async with ContraryBackend.open({}, address=target):
            async with asyncio.timeout(60):
                while (report := await check.report()).health is Health.UNREACHABLE:
                    pass  # The channel connects again.
            assert report == HealthReport("b", target, Health.SERVING)


async def test_a_check_that_fails_unexpectedly_makes_its_backend_unknown_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reports of the other backends do not fail with it."""
    endpoint = Endpoint("odd", "127.0.0.1:1")
    channel = open_channel(endpoint)
    registry = TypeRegistry("odd", [])
    backend = Backend(
        endpoint, channel, registry, public_name=GatewayName, public_parent=GatewayName
    )
    check = HealthCheck(backend, channel, timedelta(seconds=2))
    await channel.close(None)  # A call on a closed channel raises an error that is no gRPC error.
    assert await check.report() == HealthReport(
        "odd", "127.0.0.1:1", Health.UNKNOWN, "the gateway failed; its log has the reason"
    )
    assert "the health check of backend 'odd' failed" in caplog.messages


async def test_simultaneous_checks_share_one_call_even_if_the_first_caller_leaves() -> None:
    """Any number of probes makes one call at a time. The next check after it is a new call."""
    begun, release, count = asyncio.Semaphore(0), asyncio.Semaphore(0), 0

    class Slow(health_pb2_grpc.HealthServicer):
        async def Check(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the RPC
            nonlocal count
            count += 1
            begun.release()
            await release.acquire()
            return health_pb2.HealthCheckResponse(status=SERVING)

    async with healthy(Slow()) as target, gateway_of(target, deadline="30s") as gateway:
        # The gateway itself checks each backend when it opens.
        await begun.acquire()
        (check,) = gateway.health_checks
        callers = [asyncio.create_task(check.report()) for _ in range(5)]
        await asyncio.sleep(0)
        assert count == 1
        release.release()
        reports = await asyncio.gather(*callers)
        assert {report.health for report in reports} == {Health.SERVING}
        first = asyncio.create_task(check.report())
        await begun.acquire()
        others = [asyncio.create_task(check.report()) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        await begun.acquire()
        release.release()
        release.release()
        assert {report.health for report in await asyncio.gather(*others)} == {Health.SERVING}
        assert count == 3

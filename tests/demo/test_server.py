"""The server of the demo: its reflection, its health and its address."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from lro_gateway.demo.server import DESCRIPTORS, DemoServer
from tests.protos import compiled


async def reflected(
    target: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    """Return the answer of a server's reflection service."""
    async with grpc.aio.insecure_channel(target) as channel:
        # The generated type requires a blocking channel and lacks the methods.
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        call = stub.ServerReflectionInfo(iter([request]))
        answer: reflection_pb2.ServerReflectionResponse = await call.read()
        return answer


async def test_reflection_lists_the_services_and_returns_their_files(server: DemoServer) -> None:
    """All services are listed, and a symbol returns the file that declares it."""
    listed = await reflected(
        server.target, reflection_pb2.ServerReflectionRequest(list_services="")
    )
    found = await reflected(
        server.target,
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="lro_gateway.demo.v1.DatabaseAdmin"
        ),
    )

    assert {service.name for service in listed.list_services_response.service} == {
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "lro_gateway.demo.v1.DatabaseAdmin",
    }
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(file)
        for file in found.file_descriptor_response.file_descriptor_proto
    ]
    assert "lro_gateway.demo.v1" in {file.package for file in files}


async def test_every_service_is_healthy_while_it_serves(server: DemoServer) -> None:
    """The health check answers SERVING for the server and for each service."""
    async with grpc.aio.insecure_channel(server.target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # typed without its methods
        for service in ("", "google.longrunning.Operations", "lro_gateway.demo.v1.DatabaseAdmin"):
            request = health_pb2.HealthCheckRequest(service=service)
            response = await stub.Check(request)
            assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_and_health_can_be_left_out(tmp_path: Path) -> None:
    """Tests can run a backend without reflection or health."""
    async with (
        DemoServer.open(tmp_path, reflection=False, health=False) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)  # typed without its methods
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest())
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reflected(server.target, reflection_pb2.ServerReflectionRequest(list_services=""))
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_an_error_in_the_context_of_a_server_is_raised_as_it_is(tmp_path: Path) -> None:
    """The task group of the server does not wrap the error in an exception group."""
    with pytest.raises(LookupError):
        async with DemoServer.open(tmp_path):
            raise LookupError


async def test_an_address_serves_one_server_at_a_time(server: DemoServer, tmp_path: Path) -> None:
    """A second server fails because the address is taken; it does not share the address."""
    with pytest.raises(RuntimeError):
        async with DemoServer.open(tmp_path / "other", address=server.target):
            pass


def test_the_descriptor_set_is_that_of_the_present_proto_file() -> None:
    """It has the comments, and not the imports, which reflection returns."""
    shipped = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    *_, present = compiled("lro_gateway/demo/v1/database_admin").file
    assert list(shipped.file) == [present], "run scripts/generate"
    assert present.source_code_info.location

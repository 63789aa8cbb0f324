"""The server around the services: reflection, health, counts."""

from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client, refusal


async def reflected(
    target: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    """Return the answer of a server's reflection."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        async for response in stub.ServerReflectionInfo(iter([request])):
            return response
    raise AssertionError("no answer")


async def test_reflection_tells_the_services_and_their_files(server: DemoServer) -> None:
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
    async with grpc.aio.insecure_channel(server.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "google.longrunning.Operations", "lro_gateway.demo.v1.DatabaseAdmin"):
            request = health_pb2.HealthCheckRequest(service=service)
            response = await stub.Check(request)
            assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_and_health_can_be_left_out(tmp_path: Path) -> None:
    async with (
        DemoServer.open(tmp_path, reflection=False, health=False) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            await stub.Check(health_pb2.HealthCheckRequest())
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED  # noqa: PT017 (said of both)
        else:
            raise AssertionError("health answered")


async def test_calls_are_counted_by_method(server: DemoServer, client: Client) -> None:
    operation = await client.create()
    for _ in range(3):
        await client.get(operation)
    await refusal(client.begin())

    assert server.rpc_counts == {
        "/lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase": 2,
        "/google.longrunning.Operations/WaitOperation": 1,
        "/google.longrunning.Operations/GetOperation": 3,
    }

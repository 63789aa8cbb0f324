"""Chapter 7: payloads.

Metadata, responses and the details of errors are of types that only the service knows. To print
them the gateway needs their descriptors. Most often it asks the service itself, by server
reflection, at the moment that it meets a type. They can also come from a file or from a module.

What nobody knows is printed in a form that loses nothing. It never fails a call.
"""

from __future__ import annotations

import base64
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import Default

from lro_gateway.demo.server import DemoServer
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import Client as Owner
from tests.gateways import face, serving


async def get_response(service: DemoServer, name: str, *descriptors: str) -> dict[str, str]:
    """Return an operation's response, with types from these sources alone."""
    backend = {"name": "demo", "target": service.target, "descriptors": descriptors}
    async with serving(backend) as url, face("rest", url) as rest:
        operation = await rest.get(name)
    response: dict[str, str] = operation["response"]
    return response


async def test_types_come_from_the_service_by_reflection(service: DemoServer, owner: Owner) -> None:
    """This is the default: nothing has to be configured."""
    created = await owner.create("orders")

    response = await get_response(service, created.name, "reflection")

    assert response["name"] == "databases/orders"


async def test_types_come_from_an_installed_module(service: DemoServer, owner: Owner) -> None:
    """Generated code has its descriptors with it."""
    created = await owner.create("orders")

    response = await get_response(
        service, created.name, "module:lro_gateway.demo.v1.database_admin_pb2"
    )

    assert response["name"] == "databases/orders"


async def test_types_come_from_a_file(service: DemoServer, owner: Owner, tmp_path: Path) -> None:
    """A FileDescriptorSet is what `protoc --include_imports -o` writes."""
    created = await owner.create("orders")
    file = tmp_path / "demo.binpb"
    file.write_bytes(descriptor_set().SerializeToString())

    response = await get_response(service, created.name, str(file))

    assert response["name"] == "databases/orders"


async def test_what_nobody_knows_comes_as_base64(service: DemoServer, owner: Owner) -> None:
    """The bytes are all there, with why they could not be read."""
    created = await owner.create("orders")

    response = await get_response(service, created.name)

    assert response["@type"] == "type.googleapis.com/lro_gateway.demo.v1.Database"
    assert response["@error"].startswith("no descriptor of lro_gateway.demo.v1.Database")
    content = base64.b64decode(response["@value"])
    assert content == created.response.value
    assert pb.Database.FromString(content).name == "databases/orders"


def descriptor_set() -> FileDescriptorSet:
    """Return what protoc would write of the demo's file and all that it imports."""
    files = FileDescriptorSet()
    names = [pb.DESCRIPTOR.name]
    for name in names:
        file = Default().FindFileByName(name)
        file.CopyToProto(files.file.add())
        names += [imported.name for imported in file.dependencies if imported.name not in names]
    return files

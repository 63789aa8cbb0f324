"""Chapter 7: payloads.

Metadata, responses and the details of errors have message types of the service. To print such a
message, the gateway needs the descriptors of its type. By default the gateway gets them from the
service by server reflection, when it first meets the type. They can also come from a file or a
module.

The gateway prints a payload of an unknown type in a form that loses nothing. The call succeeds.
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
    """Return an operation's response from a gateway with only these sources of descriptors."""
    backend = {"name": "demo", "target": service.target, "descriptors": descriptors}
    async with serving(backend) as url, face("rest", url) as rest:
        operation = await rest.get(name)
    response: dict[str, str] = operation["response"]
    return response


async def test_types_come_from_the_service_by_reflection(service: DemoServer, owner: Owner) -> None:
    """This is the default, so it needs no configuration."""
    created = await owner.create("orders")

    response = await get_response(service, created.name, "reflection")

    assert response["name"] == "databases/orders"


async def test_types_come_from_an_installed_module(service: DemoServer, owner: Owner) -> None:
    """Generated Python code contains the descriptors of its messages."""
    created = await owner.create("orders")

    response = await get_response(
        service, created.name, "module:lro_gateway.demo.v1.database_admin_pb2"
    )

    assert response["name"] == "databases/orders"


async def test_types_come_from_a_file(service: DemoServer, owner: Owner, tmp_path: Path) -> None:
    """The file is a FileDescriptorSet, as `protoc --include_imports -o` writes it."""
    created = await owner.create("orders")
    file = tmp_path / "demo.binpb"
    file.write_bytes(descriptor_set().SerializeToString())

    response = await get_response(service, created.name, str(file))

    assert response["name"] == "databases/orders"


async def test_a_payload_of_an_unknown_type_comes_as_base64(
    service: DemoServer, owner: Owner
) -> None:
    """`@value` has all the bytes, and `@error` says why the gateway could not read them."""
    created = await owner.create("orders")

    response = await get_response(service, created.name)

    assert response["@type"] == "type.googleapis.com/lro_gateway.demo.v1.Database"
    assert response["@error"].startswith("no descriptor of lro_gateway.demo.v1.Database")
    content = base64.b64decode(response["@value"])
    assert content == created.response.value
    assert pb.Database.FromString(content).name == "databases/orders"


def descriptor_set() -> FileDescriptorSet:
    """Return the descriptor set of the demo's file and of all files that it imports."""
    files = FileDescriptorSet()
    names = [pb.DESCRIPTOR.name]
    for name in names:
        file = Default().FindFileByName(name)
        file.CopyToProto(files.file.add())
        names += [imported.name for imported in file.dependencies if imported.name not in names]
    return files

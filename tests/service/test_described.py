"""Which declaration describes a method, and what others declare differently."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.api import annotations_pb2
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from tests import factory
from tests.contrary import ContraryBackend, answering
from tests.gateways import serving

BUILD = f"{factory.SERVICE}/BuildMachine"
RUNNING = operations_pb2.Operation(name="operations/1")


def methods_of(files: FileDescriptorSet) -> list[MethodDescriptorProto]:
    """Return the methods of the factory in these files."""
    (made,) = (file for file in files.file if file.package == "factory.v1")
    return list(made.service[0].method)


def entry(name: str, target: str, path: Path, files: FileDescriptorSet) -> dict[str, Any]:
    """Return a backend of the configuration whose descriptors are these files."""
    place = path / f"{name}.binpb"
    place.write_bytes(files.SerializeToString())
    return {"name": name, "target": target, "descriptors": [str(place)]}


def without_options() -> FileDescriptorSet:
    """Return descriptors without the options of methods, as reflection of Node.js sends them."""
    files = copy.deepcopy(factory.descriptor_set())
    for method in methods_of(files):
        method.ClearField("options")
    return files


@pytest.mark.parametrize("bare", ["first", "second"])
async def test_a_backend_without_rules_takes_no_route_from_another(
    tmp_path: Path, bare: str
) -> None:
    """Each backend is called by the routes and the tool of the one that declares the rules."""
    names = ("first", "second")
    async with ContraryBackend.open(
        {}, methods={BUILD: answering(RUNNING)}, pool=factory.pool()
    ) as backend:
        files = {
            name: without_options() if name == bare else factory.descriptor_set() for name in names
        }
        entries = [entry(name, backend.target, tmp_path, files[name]) for name in names]
        async with serving(*entries) as url, httpx.AsyncClient(base_url=url) as client:
            answers = [
                await client.post(f"/v1/lines/1/machines?backend={name}", json={"title": "Press"})
                for name in names
            ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [call.request.parent for call in backend.answered] == ["lines/1", "lines/1"]


async def test_other_rules_of_a_backend_are_a_problem(tmp_path: Path) -> None:
    """The routes follow the first rules, and `check` names who has others."""
    files = copy.deepcopy(factory.descriptor_set())
    build = next(each for each in methods_of(files) if each.name == "BuildMachine")
    build.options.Extensions[annotations_pb2.http].post = "/v2/{parent=lines/*}/machines"
    entries = [
        entry("new", "127.0.0.1:1", tmp_path, files),
        entry("bare", "127.0.0.1:1", tmp_path, without_options()),
        entry("old", "127.0.0.1:1", tmp_path, factory.descriptor_set()),
    ]
    config = GatewayConfig.model_validate({"backends": entries})
    async with Gateway.open(config) as gateway:
        discovered = await gateway.service.catalog.discovered()
    assert {name: found.problems for name, found in discovered.items()} == {
        "new": (),
        "bare": (),
        "old": (
            (
                f"{BUILD} has other google.api.http rules than that of backend 'new',"
                " whose rules the routes follow"
            ),
        ),
    }

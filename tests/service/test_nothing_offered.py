"""The reasons why a backend offers no methods, in the log of `serve` and in `check`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from tests.commands.test_check import checked, problems
from tests.descriptors.made_types import file
from tests.reflecting import ReflectingBackend

OPERATION = ".google.longrunning.Operation"
SET = "acme.binpb"


def acme(output: str = OPERATION, *, streaming: bool = False) -> FileDescriptorProto:
    """Make a file with a service that has one RPC."""
    made = file("acme.proto", package="acme")
    made.dependency.append("google/longrunning/operations.proto")
    made.service.add(name="Acme").method.add(
        name="Make", input_type=".acme.Thing", output_type=output, server_streaming=streaming
    )
    return made


@pytest.mark.parametrize(
    ("made", "settings", "why"),
    [
        (
            file("a.proto"),
            {},
            (
                f"{{}}{SET} has no service except google.longrunning.Operations and those of gRPC;"
                " add a FileDescriptorSet of its services to the setting descriptors; make one"
                " with protoc --include_imports --include_source_info -I . -I GOOGLEAPIS -o FILE"
                " PROTO_FILES, where GOOGLEAPIS is the directory that has"
                " google/longrunning/operations.proto"
            ),
        ),
        (
            acme(streaming=True),
            {},
            "all its RPCs are streaming, and the gateway offers no streaming RPCs",
        ),
        (
            acme(".acme.Thing"),
            {},
            (
                "none of its RPCs returns google.longrunning.Operation; list plain RPCs in the"
                ' setting methods, for example methods = ["acme.Acme/*"]'
            ),
        ),
        (
            acme(),
            {"exclude_methods": ["*/Make"]},
            "the setting exclude_methods matches all its RPCs",
        ),
    ],
    ids=["no services", "streams", "plain", "excluded"],
)
async def test_a_backend_that_offers_nothing_is_a_warning_and_a_problem(
    made: FileDescriptorProto,
    settings: dict[str, Any],
    why: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both have the likely reason. The log has it although no caller needs the methods yet."""
    caplog.set_level(logging.INFO, "lro_gateway")
    (tmp_path / SET).write_bytes(FileDescriptorSet(file=[made]).SerializeToString())
    async with ReflectingBackend.open([]) as backend:
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        _, printed = await checked(
            tmp_path,
            config=f"""
            [[backends]]
            name = "b"
            target = "{backend.target}"
            descriptors = ["{SET}"]
            {lines}
            """,
        )
        entry = {"name": "b", "target": backend.target, "descriptors": [str(tmp_path / SET)]}
        config = GatewayConfig.model_validate({"backends": [{**entry, **settings}]})
        async with Gateway.open(config) as gateway:
            await gateway.service.catalog.prepare("b")
    assert problems(printed) == [f"backend 'b': no methods are offered: {why.format('')}"]
    logged = [r for r in caplog.records if "methods are offered" in r.getMessage()]
    assert [(r.levelname, r.getMessage()) for r in logged] == [
        ("WARNING", f"backend b: no methods are offered: {why.format(f'{tmp_path}/')}")
    ]


@pytest.mark.parametrize(
    ("descriptors", "expected"),
    [
        (["reflection"], ("INFO", "1 method is offered")),
        ([], ("INFO", "no methods are offered: the setting descriptors is empty")),
    ],
)
async def test_the_log_says_how_many_methods_are_offered(
    descriptors: list[str], expected: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """An operator who lists no sources wants no methods, so this is not a warning."""
    caplog.set_level(logging.INFO, "lro_gateway")
    async with ReflectingBackend.open([acme()], "acme.Acme") as backend:
        entry = {"name": "b", "target": backend.target, "descriptors": descriptors}
        config = GatewayConfig.model_validate({"backends": [entry]})
        async with Gateway.open(config) as gateway:
            await gateway.service.catalog.prepare("b")
            await gateway.service.catalog.offers()
    logged = [r for r in caplog.records if "offered" in r.getMessage()]
    level, text = expected
    assert [(r.levelname, r.getMessage()) for r in logged] == [(level, f"backend b: {text}")]


async def test_a_server_without_reflection_gets_the_reason_and_the_cure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reason is that of the failed source."""
    caplog.set_level(logging.WARNING, "lro_gateway")
    async with ReflectingBackend.open([], reflects=False) as backend:
        entry = {"name": "b", "target": backend.target}
        async with Gateway.open(GatewayConfig.model_validate({"backends": [entry]})) as gateway:
            await gateway.service.catalog.prepare("b")
    assert (
        "backend b: no methods are offered: reflection is not served; add a FileDescriptorSet of"
        " its services to the setting descriptors; make one with protoc --include_imports"
        " --include_source_info -I . -I GOOGLEAPIS -o FILE PROTO_FILES, where GOOGLEAPIS is the"
        " directory that has google/longrunning/operations.proto"
    ) in caplog.messages

"""A bearer token in a file goes with every call, and a new one is used when the file changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lro_gateway.backends.credentials.bearer_file import BearerFile
from lro_gateway.backends.credentials.failures import CredentialsError
from lro_gateway.backends.health import Health
from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.verb_requests import ListRequest, NameRequest
from tests.backends.credentials.recording import DONE, recording, refusing_first, shown

NAME = NameRequest("jobs/1")


def config_of(target: str, file: Path, **settings: object) -> GatewayConfig:
    """Return the configuration of a gateway that shows the token in a file."""
    backend = {"name": "b", "target": target, "credentials": {"bearer_file": str(file)}, **settings}
    return GatewayConfig.model_validate({"backends": [backend]})


async def test_every_call_shows_the_token(tmp_path: Path) -> None:
    """Also those of reflection and of health checks. White space around the token is no part."""
    file = tmp_path / "token"
    file.write_text("  sesame\n")
    async with recording() as backend, Gateway.open(config_of(backend.target, file)) as gateway:
        service = gateway.service
        await service.get(ANONYMOUS, NAME)
        await service.list(ANONYMOUS, ListRequest())
        await service.cancel(ANONYMOUS, NAME)
        await service.delete(ANONYMOUS, NAME)
        await service.catalog.discovered()
        reports = [await check.report() for check in gateway.health_checks]
    assert [report.health for report in reports] == [Health.SERVING]
    methods = {call.method for call in backend.calls}
    assert {"GetOperation", "ListOperations", "CancelOperation", "DeleteOperation"} < methods
    assert {"Check", "reflection.v1"} < methods
    assert {call.metadata["authorization"] for call in backend.calls} == {"Bearer sesame"}


async def test_a_read_that_is_refused_is_made_once_more_with_the_new_token(tmp_path: Path) -> None:
    """So a token that was replaced before its end does not reach the caller as an error."""
    file = tmp_path / "token"
    file.write_text("old")
    handlers = {"GetOperation": refusing_first(1, DONE)}
    async with (
        recording(handlers) as backend,
        Gateway.open(config_of(backend.target, file, descriptors=[])) as gateway,
    ):
        await gateway.service.list(ANONYMOUS, ListRequest())
        file.write_text("new")
        operation = await gateway.service.get(ANONYMOUS, NAME)
    assert operation.done
    assert shown(backend, "GetOperation") == ["Bearer old", "Bearer new"]


async def test_a_change_that_is_refused_is_not_repeated(tmp_path: Path) -> None:
    """The backend may have begun it. The next call has the new token."""
    file = tmp_path / "token"
    file.write_text("old")
    handlers = {"CancelOperation": refusing_first(1, DONE)}
    async with (
        recording(handlers) as backend,
        Gateway.open(config_of(backend.target, file, descriptors=[])) as gateway,
    ):
        await gateway.service.list(ANONYMOUS, ListRequest())
        file.write_text("new")
        with pytest.raises(StatusError, match="this token is not valid"):
            await gateway.service.cancel(ANONYMOUS, NAME)
        await gateway.service.get(ANONYMOUS, NAME)
    assert shown(backend, "CancelOperation") == ["Bearer old"]
    assert shown(backend, "GetOperation") == ["Bearer new"]


async def test_a_file_is_looked_at_every_five_seconds(tmp_path: Path) -> None:
    """The token of a file tells no end, so only a look at the file shows a new one."""
    file = tmp_path / "token"
    file.write_text("sesame")
    token = await BearerFile(file).fetch()
    assert (token.value, token.renewed_in, token.ends_in) == ("sesame", 5.0, float("inf"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"sesame sesame", "has characters that no token can have"),
        (b"sesame\r\nx-admin: yes", "has characters that no token can have"),
        ("s\u00e9same".encode(), "has characters that no token can have"),
        (b"s" * 70_000, "is larger than 65536 bytes"),
    ],
)
def test_a_file_without_a_token_is_told_without_its_content(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """The content may be another secret."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CredentialsError, match=problem) as caught:
        BearerFile(file).read()
    assert "same" not in str(caught.value)

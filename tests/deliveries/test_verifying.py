"""How the gateway knows that a receiver wants the events of MCP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lro_gateway.deliveries.addresses import AddressFilter, parse_address
from lro_gateway.deliveries.egress import Egress
from lro_gateway.deliveries.signing import new_secret
from lro_gateway.deliveries.verifying import DOCUMENT, Verifier
from lro_gateway.errors import Code, StatusError
from tests.certificates import Authority
from tests.deliveries.receiver import Receiver, answering, closing, receiving
from tests.deliveries.stages import echo

HOOKS = json.dumps({"receivers": ["/other/", "/hook"]}).encode()


class Stage:
    """A verifier that may ask as often as `turns` tells, and a receiver over HTTPS."""

    def __init__(self, authority: Authority, receiver: Receiver) -> None:
        self.egress = Egress(AddressFilter([parse_address("127.0.0.1")]), ca=authority.file)
        self.receiver = receiver
        self.turns = 100
        self.hosts: list[str] = []

    async def spend(self, host: str) -> float:
        """Take a turn."""
        self.hosts.append(host)
        self.turns -= 1
        return 0.0 if self.turns >= 0 else 7.0

    async def verify(
        self, *, path: str = "/hook", receivers: tuple[str, ...] = (), documents: bool = True
    ) -> Any:
        """Return None if the receiver is verified, or the code and the reason of the error."""
        verifier = Verifier(self.egress, receivers, self.spend, reads_documents=documents)
        url = self.receiver.url.removesuffix("/hook") + path
        try:
            await verifier.verify("sub_1", url, SecretStr(new_secret()))
        except StatusError as error:
            details = dict(error.info.metadata) if error.info is not None else {}
            return error.code, details.get("reason", error.reason), error.message
        return None

    @property
    def asked(self) -> list[str]:
        """The paths of the requests."""
        return [each.path for each in self.receiver.received]


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    """Run a receiver that repeats challenges."""
    authority = Authority(tmp_path)
    async with receiving(echo, authority.issue("receiver")) as receiver:
        found = Stage(authority, receiver)
        yield found
        await found.egress.close()


def with_document(
    answer: Callable[..., Awaitable[None]],
    body: bytes = HOOKS,
    status: int = 200,
    **headers: str,
) -> Callable[..., Awaitable[None]]:
    """Answer messages in this way, and the document of the origin with this body."""

    async def behave(request: Any, writer: Any) -> None:
        is_document = request.path == DOCUMENT
        await (answering(status, body, **headers) if is_document else answer)(request, writer)

    return behave


async def test_a_receiver_that_repeats_the_challenge_is_asked_once(stage: Stage) -> None:
    """The document of its origin is not read."""
    assert await stage.verify() is None
    assert (stage.asked, stage.hosts) == (["/hook"], ["127.0.0.1"])


async def test_a_receiver_on_the_list_is_not_asked(stage: Stage) -> None:
    """And one beside it is."""
    listed = (stage.receiver.url,)
    stage.receiver.behavior = answering(404)
    assert await stage.verify(receivers=listed) is None
    assert (stage.asked, stage.hosts) == ([], [])
    code, reason, _ = await stage.verify(receivers=listed, path="/hooked", documents=False)
    assert (code, reason) == (Code.FAILED_PRECONDITION, "challenge_failed")


@pytest.mark.parametrize("status", [200, 204, 405, 503])
async def test_the_document_of_an_origin_declares_its_receivers(stage: Stage, status: int) -> None:
    """If they answer the challenge in another way."""
    stage.receiver.behavior = with_document(answering(status))
    assert await stage.verify() is None
    assert stage.asked == ["/hook", DOCUMENT]


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        (HOOKS, 200, "/hooked"),
        (HOOKS, 200, "/hook/../admin"),
        (HOOKS, 404, "/hook"),
        (b'{"receivers": "/hook"}', 200, "/hook"),
        (b'{"receivers": [1, null, "hook"]}', 200, "/hook"),
        (b'["/hook"]', 200, "/hook"),
        (b"no json", 200, "/hook"),
        (b"[" * 10_000, 200, "/hook"),
        (b'{"receivers": ["/hook"], "more": "' + b"x" * 20_000 + b'"}', 200, "/hook"),
        (b"", 302, "/hook"),
    ],
)
async def test_a_document_that_does_not_declare_a_receiver_changes_nothing(
    stage: Stage, body: bytes, status: int, path: str
) -> None:
    """It is read as far as 16 KiB, and no redirect is followed."""
    elsewhere = f"{stage.receiver.url}/elsewhere"
    stage.receiver.behavior = with_document(answering(404), body, status, Location=elsewhere)
    code, reason, message = await stage.verify(path=path)
    assert (code, reason) == (Code.FAILED_PRECONDITION, "challenge_failed")
    assert message == ("the receiver cannot be used: it refused the challenge with HTTP status 4xx")
    assert stage.asked == [path, DOCUMENT]


async def test_the_setting_lets_only_the_challenge_decide(stage: Stage) -> None:
    """No document is read then."""
    stage.receiver.behavior = with_document(answering(404))
    _, reason, _ = await stage.verify(documents=False)
    assert (reason, stage.asked) == ("challenge_failed", ["/hook"])


async def test_a_receiver_that_does_not_answer_is_not_asked_for_its_document(
    stage: Stage,
) -> None:
    """The error has the kind of its failure."""
    stage.receiver.behavior = with_document(closing)
    _, reason, _ = await stage.verify()
    assert (reason, stage.asked) == ("protocol_error", ["/hook"])


async def test_a_host_is_asked_only_so_often(stage: Stage) -> None:
    """A document counts like a challenge, and callers learn when to ask again."""
    stage.turns = 1
    stage.receiver.behavior = with_document(answering(404))
    _, reason, _ = await stage.verify()
    assert (reason, stage.asked) == ("challenge_failed", ["/hook"])
    code, reason, message = await stage.verify(path="/hook?other=1")
    assert (code, reason, stage.asked) == (
        *(Code.RESOURCE_EXHAUSTED, "TOO_MANY_CHALLENGES", ["/hook"]),
    )
    assert message.startswith("receivers at 127.0.0.1 were asked too often")
    assert "in 7 s" in message

"""How the gateway knows that a receiver wants the events of MCP (SEP-3415)."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import orjson
from pydantic import SecretStr

from lro_gateway.deliveries.egress import Answer, Egress, EgressError
from lro_gateway.deliveries.messages import MCP_ID
from lro_gateway.deliveries.places import Places
from lro_gateway.deliveries.signing import signed_headers
from lro_gateway.deliveries.urls import covers, is_under
from lro_gateway.errors import Code, StatusError, status_error

DOCUMENT: Final = "/.well-known/mcp-webhook-receiver.json"
"""The path at which an origin declares which of its paths want events."""
_DEADLINE: Final = 10.0
_MOST: Final = 100
_MOST_OF_ONE: Final = 4
"""The number of requests at a time, in all and to one origin. A caller chooses where they go."""
Spend = Callable[[str], Awaitable[float]]
"""Takes a turn for a host, and returns 0. If there is none, returns the seconds until there is."""


class Verifier:
    """Makes sure that a receiver wants events before it gets any.

    It does so by the list `receivers` of URLs, under which each receiver is known to the operator,
    or because the receiver repeats a challenge. If the receiver answers, but does not repeat it,
    the document of its origin may declare its path. The document is read last, so most receivers
    get one request, and one origin gets no more than `spend` allows.
    """

    def __init__(
        self, egress: Egress, receivers: Sequence[str], spend: Spend, *, reads_documents: bool
    ) -> None:
        self._egress = egress
        self._receivers = receivers
        self._spend = spend
        self._reads_documents = reads_documents
        self._places = Places(_MOST, _MOST_OF_ONE, of_silent=_MOST_OF_ONE)

    async def verify(self, id_: str, url: str, secret: SecretStr) -> None:
        """Return if the receiver of a subscription wants events.

        Raises FAILED_PRECONDITION if it does not, or does not answer, and RESOURCE_EXHAUSTED if its
        host was asked too often.
        """
        if any(is_under(url, each) for each in self._receivers):
            return
        parts = urlsplit(url)
        await self._take_turn(parts)
        try:
            problem = await self._challenge(id_, url, secret)
        except TimeoutError:
            raise _unverified("timeout", f"it did not answer within {_DEADLINE:g} s") from None
        except EgressError as error:
            raise _unverified(error.kind, str(error)) from None
        if problem and not await self._is_declared(parts):
            raise _unverified("challenge_failed", problem)

    async def _take_turn(self, parts: SplitResult) -> None:
        if seconds := await self._spend(parts.hostname or ""):
            raise _asked_too_often(parts.hostname or "", seconds)

    async def _challenge(self, id_: str, url: str, secret: SecretStr) -> str:
        """Ask a receiver to repeat a random text; return what is wrong, or an empty text.

        What is wrong has no part of the answer, so that a caller cannot read what a host answers.
        """
        challenge = secrets.token_urlsafe(32)
        body = orjson.dumps({"type": "verification", "challenge": challenge})
        message_id = f"msg_verification_{secrets.token_hex(12)}"
        signed = signed_headers([secret.get_secret_value()], message_id, body)
        headers = {"content-type": "application/json", MCP_ID: id_, **signed}
        async with asyncio.timeout(_DEADLINE), self._places.of(url):
            answer = await self._egress.post(url, headers, body, deadline=_DEADLINE)
        if not _is_success(answer):
            return f"it refused the challenge with HTTP status {answer.status // 100}xx"
        found = _object(answer.body).get("challenge")
        is_repeated = isinstance(found, str) and hmac.compare_digest(
            found.encode(), challenge.encode()
        )
        return "" if is_repeated else "it did not repeat the challenge"

    async def _is_declared(self, parts: SplitResult) -> bool:
        """Return whether the origin of a URL declares that its path wants events."""
        if not self._reads_documents or await self._spend(parts.hostname or ""):
            return False
        url = f"{parts.scheme}://{parts.netloc}{DOCUMENT}"
        try:
            async with asyncio.timeout(_DEADLINE), self._places.of(url):
                answer = await self._egress.get(url, deadline=_DEADLINE)
        except (TimeoutError, EgressError):
            return False
        declared = _object(answer.body).get("receivers") if answer.status == 200 else None
        return isinstance(declared, list) and any(
            isinstance(each, str) and covers(each, parts.path) for each in declared
        )


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body, or an empty one."""
    try:
        found = orjson.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _unverified(kind: str, problem: str) -> StatusError:
    return status_error(
        Code.FAILED_PRECONDITION,
        f"the receiver cannot be used: {problem}",
        "RECEIVER_NOT_VERIFIED",
        metadata={"reason": kind},
    )


def _asked_too_often(host: str, seconds: float) -> StatusError:
    return status_error(
        Code.RESOURCE_EXHAUSTED,
        f"receivers at {host} were asked too often whether they want events; subscribe again in"
        f" {max(1, round(seconds))} s, or see deliveries.challenge_rate",
        "TOO_MANY_CHALLENGES",
        metadata={"setting": "deliveries.challenge_rate"},
    )

"""A gateway with a store whose webhooks go to the receivers of a test."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr
from standardwebhooks import Webhook

from lro_gateway.config.models import GatewayConfig
from lro_gateway.deliveries.deliveries import Deliveries, Subscribed
from lro_gateway.deliveries.happenings import DONE
from lro_gateway.deliveries.signing import new_secret
from lro_gateway.deliveries.subscribing import WebhookRequest
from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.principal import Principal
from lro_gateway.records.event_entries import Delivery, Selection
from lro_gateway.records.location import Location
from lro_gateway.service.verb_requests import StartRequest
from tests.access.guarded import Recording
from tests.certificates import Authority
from tests.deliveries.receiver import Receiver, answering, receiving
from tests.gateways import offer_of

ALICE = Principal("alice", "https://issuer", "acme")
BOB = Principal("bob", "https://issuer", "acme")
EVE = Principal("eve", "https://issuer", "other")
_KEY = b"a-key-of-a-test-that-has-32-bytes-or-more"


@dataclass
class Stage:
    """A gateway with a store, in front of the demo's backend."""

    gateway: Gateway
    policy: Recording

    @property
    def deliveries(self) -> Deliveries:
        """The deliveries of the gateway."""
        assert self.gateway.deliveries is not None
        return self.gateway.deliveries

    @property
    def subscriptions(self) -> Any:
        """The subscriptions in the store."""
        return self.deliveries._records.subscriptions  # noqa: SLF001 - nobody else opens the file

    async def start(self, database: str = "one", caller: Principal = ALICE) -> str:
        """Start the creation of a database, and return the operation's name."""
        service = self.gateway.service
        offer = await offer_of(service, "lro_gateway.demo.v1.DatabaseAdmin.CreateDatabase")
        request = StartRequest(offer, {"databaseId": database, "rowCount": 4})
        started = await service.start(caller, request)
        assert started.operation is not None
        return started.operation.name

    async def hook(
        self, receiver: Receiver, caller: Principal = ALICE, **selection: Any
    ) -> Subscribed:
        """Make a webhook of REST, by default for the ends of all operations."""
        chosen = Selection(**{"kinds": (DONE,), **selection})
        request = WebhookRequest("rest", receiver.url, chosen)
        return await self.deliveries.subscribe(caller, request)

    async def delivery(self, made: Subscribed, receiver: Receiver, number: int = 1) -> Delivery:
        """Return the one delivery of a hook after so many requests, and after their outcomes."""
        await receiver.after(number)
        return await self.settled(made)

    async def settled(self, made: Subscribed) -> Delivery:
        """Return the one delivery of a hook after the attempts that are under way."""
        await self.deliveries.sender.drain()
        (found,), _ = await self.deliveries.deliveries(ALICE, made.subscription.id)
        return found


@asynccontextmanager
async def staged(
    location: Location,
    demo: DemoServer,
    directory: Path,
    backend: Mapping[str, Any] = MappingProxyType({}),
    key: bytes = _KEY,
    tables: Mapping[str, Any] = MappingProxyType({}),
    **settings: Any,
) -> AsyncIterator[Stage]:
    """Open a gateway whose webhooks may go to 127.0.0.1. `tables` are others of its file."""
    (directory / "key").write_text(base64.b64encode(key).decode())
    (directory / "key").chmod(0o600)
    allowed = {"allowed_addresses": ["127.0.0.1"], "allow_http": True, **settings}
    config = GatewayConfig.model_validate(
        {
            "server": {"port": 0, "sync_grace": "0s", "keys": [f"file:{directory / 'key'}"]},
            "store": {"url": location},
            "deliveries": allowed,
            "backends": [{"name": "demo", "target": demo.target, **backend}],
            **tables,
        }
    )
    policy = Recording()
    async with Gateway.open(config, policy=policy) as gateway:
        yield Stage(gateway, policy)


def body_of(received: Any, made: Subscribed) -> Any:
    """Return the body of a webhook whose signature is right."""
    return Webhook(made.secret.get_secret_value()).verify(received.body, received.headers)


async def echo(request: Any, writer: Any) -> None:
    """Repeat the challenge, and take everything else."""
    challenge = json.loads(request.body).get("challenge")
    await answering(200, json.dumps({"challenge": challenge}).encode())(request, writer)


Demo = tuple[DemoServer, Gate]
"""The demo's backend, and the gate of its operations."""


@dataclass
class McpReceiver:
    """A receiver over HTTPS that answers challenges, and what it needs to be subscribed."""

    receiver: Receiver
    secret: SecretStr

    def request(self, **selection: Any) -> WebhookRequest:
        """Return the request for a webhook of MCP, by default for the ends of all operations."""
        chosen = Selection(**{"kinds": (DONE,), **selection})
        return WebhookRequest("mcp", self.receiver.url, chosen, self.secret)

    async def bodies(self, number: int) -> list[Any]:
        """Return the bodies after the challenge once there are so many."""
        received = (await self.receiver.after(number + 1))[1:]
        verifier = Webhook(self.secret.get_secret_value())
        return [verifier.verify(each.body, each.headers) for each in received]


@asynccontextmanager
async def staged_for_mcp(
    location: Location, demo: DemoServer, directory: Path
) -> AsyncIterator[tuple[Stage, McpReceiver]]:
    """Open a gateway and a receiver of MCP."""
    authority = Authority(directory)
    async with (
        receiving(echo, authority.issue("receiver")) as receiver,
        staged(location, demo, directory, ca=str(authority.file)) as stage,
    ):
        yield stage, McpReceiver(receiver, SecretStr(new_secret()))

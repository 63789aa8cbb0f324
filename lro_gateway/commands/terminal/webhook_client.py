"""The routes of webhooks, as the commands call them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from lro_gateway.commands.terminal.answers import JSON
from lro_gateway.commands.terminal.gateway_client import GatewayClient
from lro_gateway.commands.terminal.names import one_of

_PATH: Final = "/v1/webhooks"
_MARK: Final = "wh_"
_WHOLE: Final = len(_MARK) + 32
"""The length of an id."""
_PAGE: Final = 100
_LOOKED_AT: Final = 1000
"""The number of webhooks among which a part of an id is looked up."""


class Webhooks:
    """Calls the routes of webhooks of one gateway. Raises as `GatewayClient` does."""

    def __init__(self, client: GatewayClient) -> None:
        self.client = client

    async def list(self, limit: int) -> Sequence[JSON]:
        """Return up to `limit` webhooks of the caller."""
        return await self._rows(_PATH, "webhooks", limit)

    async def get(self, id_: str) -> JSON:
        """Return a webhook."""
        return await self.client.send("GET", f"{_PATH}/{id_}")

    async def create(self, body: JSON) -> JSON:
        """Make a webhook, and return it with its secret."""
        return await self.client.send("POST", _PATH, body=body)

    async def rotate(self, id_: str, body: JSON) -> JSON:
        """Replace the secret of a webhook, and return the new one."""
        return await self.client.send("POST", f"{_PATH}/{id_}:rotateSecret", body=body)

    async def set_state(self, id_: str, verb: str) -> JSON:
        """Enable or disable a webhook, and return it."""
        return await self.client.send("POST", f"{_PATH}/{id_}:{verb}")

    async def delete(self, id_: str) -> None:
        """End a webhook."""
        await self.client.send("DELETE", f"{_PATH}/{id_}")

    async def deliveries(self, id_: str, state: str, limit: int) -> Sequence[JSON]:
        """Return up to `limit` deliveries of a webhook, the newest first."""
        return await self._rows(f"{_PATH}/{id_}/deliveries", "deliveries", limit, state=state)

    async def redeliver(self, id_: str, delivery: str) -> JSON:
        """Send one delivery again, and return it."""
        return await self.client.send("POST", f"{_PATH}/{id_}/deliveries/{delivery}:redeliver")

    async def redeliver_all(self, id_: str, since: str) -> Sequence[JSON]:
        """Send again what has not arrived, or has not since a time, and return it."""
        body: dict[str, Any] = {"pageSize": _PAGE, **({"since": since} if since else {})}
        found: list[JSON] = []
        while True:
            page = await self.client.send(
                "POST", f"{_PATH}/{id_}:redeliver", body=body, has="deliveries"
            )
            found += page["deliveries"]
            if not (token := page.get("nextPageToken", "")):
                return found
            body["pageToken"] = token

    async def whole_id(self, given: str) -> str:
        """Return the id of the one webhook whose id begins or ends with the given text.

        The text may lack the mark at the beginning of the ids.
        """
        if len(given) == _WHOLE and given.startswith(_MARK):
            return given
        ids = [str(each["id"]) for each in await self.list(_LOOKED_AT)]
        bare = [each.removeprefix(_MARK) for each in ids]
        cure = "`lro-gateway webhooks list` shows the ids"
        return _MARK + one_of(bare, given.removeprefix(_MARK), "webhook", cure)

    async def _rows(self, path: str, key: str, limit: int, **query: str) -> Sequence[JSON]:
        found: list[JSON] = []
        async for page in self._pages(path, key, limit, **query):
            found += page[key]
            if len(found) >= limit:
                break
        return found[:limit]

    async def _pages(self, path: str, key: str, limit: int, **query: str) -> AsyncIterator[JSON]:
        token = ""
        while True:
            size = str(min(limit, _PAGE))
            given = {"pageSize": size, "pageToken": token, **query}
            page = await self.client.send("GET", path, given, has=key)
            yield page
            if not (token := page.get("nextPageToken", "")):
                return

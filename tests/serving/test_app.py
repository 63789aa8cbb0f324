"""The application around the faces."""

from __future__ import annotations

import re

import httpx

from tests.gateways import serving


async def test_the_docs_need_nothing_from_elsewhere() -> None:
    """They are read where there is no internet, and send nobody's address there."""
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        page = await client.get("/docs")
        assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
        links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
        assert links
        for link in links:
            assert not link.startswith(("http:", "https:", "//"))
            assert (await client.get(link)).status_code == 200
        assert "/openapi.json" in page.text

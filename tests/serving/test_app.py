"""The application that joins the faces."""

from __future__ import annotations

import re

import httpx

from tests.gateways import serving


async def test_the_docs_page_loads_nothing_from_other_hosts() -> None:
    """The page works without internet, and shows no reader's address to another host."""
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        page = await client.get("/docs")
        assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
        links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
        assert links
        for link in links:
            assert not link.startswith(("http:", "https:", "//"))
            assert (await client.get(link)).status_code == 200
        assert "/openapi.json" in page.text

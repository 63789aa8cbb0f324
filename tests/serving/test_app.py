"""The application that joins the faces."""

from __future__ import annotations

import re

import httpx
import pytest
from mcp import Client

from lro_gateway.rest.suggestions import OWN_PAGES
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


async def test_no_method_can_take_the_path_of_an_own_page() -> None:
    """`OWN_PAGES` lists the paths of all routes that precede those of methods."""
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        documented = (await client.get("/openapi.json")).json()["paths"]
        for path in OWN_PAGES:
            assert (await client.options(path)).headers["allow"] in {"GET, HEAD", "POST"}
        assert {path for path in documented if not path.startswith("/v1/")} <= set(OWN_PAGES)


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_mcp_is_served_with_and_without_a_slash(path: str) -> None:
    """A redirect would make many clients send the request again without its body."""
    async with serving() as url, Client(f"{url}{path}") as client:
        assert (await client.list_tools()).tools


@pytest.mark.parametrize(
    ("root_path", "sent", "server"),
    [("", "", "."), ("/lro", "", "/lro"), ("/lro", "/lro", "/lro")],
    ids=["no prefix", "the proxy removes the prefix", "the proxy keeps the prefix"],
)
async def test_the_docs_page_and_the_document_know_the_prefix(
    root_path: str, sent: str, server: str
) -> None:
    """The addresses in the page are relative, so it also works if nobody has set `root_path`."""
    async with serving(root_path=root_path) as url, httpx.AsyncClient(base_url=url) as client:
        page = await client.get(f"{sent}/docs")
        links = re.findall(r"""(?:src|href|url)[=:] ?["']([^"']+)["']""", page.text)
        assert len(links) == 6
        assert all(link.startswith("./") for link in links)
        for link in links:
            assert (await client.get(page.url.join(link))).status_code == 200
        document = (await client.get(f"{sent}/openapi.json")).json()
        assert document["servers"] == [{"url": server}]
        misspelt = (await client.get(f"{sent}/livezz")).json()["error"]["message"]
        assert f"did you mean {root_path}/livez?" in misspelt

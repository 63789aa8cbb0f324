"""The headers that say which page made a browser send a request (W3C Fetch Metadata).

A browser sends no `Origin` with a GET for an image or a link. It sends `Sec-Fetch-Site` with every
request. A client that is not a browser sends neither.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers

from lro_gateway.errors import Code, StatusError, quote, status_error

_SITE: Final = "sec-fetch-site"
_OWN_SITES: Final = frozenset({"same-origin", "none"})
"""The values of requests from the gateway's own pages, and of addresses that a person has typed."""


def is_from_elsewhere(headers: Headers) -> bool:
    """Return whether a page of another origin caused a request that has no Origin header."""
    return "origin" not in headers and headers.get(_SITE, "none") not in _OWN_SITES


def is_from_same_site(headers: Headers) -> bool:
    """Return whether the page has the gateway's host name, and maybe another port."""
    return headers.get(_SITE) == "same-site"


def is_visit(method: str, headers: Headers) -> bool:
    """Return whether a person opens a page in a tab, for example by a link on another page."""
    return (
        method == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def cross_site(headers: Headers) -> StatusError:
    """Return the error for a request that a page of another site must not send."""
    site = quote(headers.get(_SITE, ""))
    return status_error(
        Code.PERMISSION_DENIED,
        f"a web page of another origin sent this request (Sec-Fetch-Site is {site}); call the"
        " gateway by fetch from an origin in server.allowed_origins, or without a browser",
        "CROSS_SITE_REQUEST",
        metadata={"site": site, "setting": "server.allowed_origins"},
    )

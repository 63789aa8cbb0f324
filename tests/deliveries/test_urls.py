"""The URLs that a receiver may have, and those that are below another one."""

from __future__ import annotations

import ipaddress

import pytest

from lro_gateway.deliveries.addresses import AddressFilter
from lro_gateway.deliveries.urls import check_url, covers, is_under

LOOPBACK = AddressFilter([ipaddress.ip_address("127.0.0.1")])


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://hooks.example/a?b=1", ""),
        ("https://127.0.0.1:8443/a", ""),
        (
            "http://hooks.example/",
            (
                "its scheme must be https; deliveries.allow_http allows http too, for webhooks of"
                " REST alone"
            ),
        ),
        ("ftp://hooks.example/", "its scheme must be https"),
        ("hooks.example", "its scheme must be https"),
        ("https:///path", "it has no host"),
        ("https://2130706433/", ""),
        ("https://hooks.example:0/", "its port must be from 1 to 65535"),
        ("https://user:secret@hooks.example/", "it must not have a user or a password"),
        ("https://hooks.example/#part", "it must not have a fragment"),
        ("https://hooks.example:port/", "it is not a URL"),
        ("https://[::1", "it is not a URL"),
        (f"https://hooks.example/{'a' * 2048}", "it has more than 2048 characters"),
        ("https://hooks.example/a b", "it has characters that a URL must escape"),
        ("https://hooks.example/\u00e4", "it has characters that a URL must escape"),
        *(
            (
                f"https://{host}/",
                (
                    f"the address {host.strip('[]')} is not public, and"
                    " deliveries.allowed_addresses does not have it"
                ),
            )
            for host in ("10.0.0.1", "[::1]", "10.1", "2130706434", "0x7f000002", "0177.1.1.1")
        ),
    ],
)
def test_a_url_is_checked_before_it_is_used(url: str, problem: str) -> None:
    """The words do not repeat the URL, which may have a secret."""
    assert check_url(url, LOOPBACK) == problem


def test_http_is_allowed_only_by_a_setting() -> None:
    """Everything else of the URL is checked all the same."""
    assert check_url("http://hooks.example/", LOOPBACK, http=True) == ""
    assert check_url("ftp://hooks.example/", LOOPBACK, http=True) == "its scheme must be https"


@pytest.mark.parametrize(
    ("prefix", "path", "is_below"),
    [
        ("/", "/any/thing", True),
        ("/", "", True),
        ("/hooks/", "/hooks/one", True),
        ("/hooks/", "/hooks/", True),
        ("/hooks", "/hooks", True),
        ("/hooks", "/hooks/one", True),
        ("/hooks/one", "/hooks/one", True),
        ("/hooks", "/hooksmith", False),
        ("/hooks/", "/hooks", False),
        ("/hooks/", "/other", False),
        ("/hooks/", "/Hooks/one", False),
        # A receiver may take each of these for a path outside of /hooks/.
        ("/hooks/", "/hooks/../admin", False),
        ("/hooks/", "/hooks/./one", False),
        ("/hooks/", "/hooks/..;/admin", False),
        ("/hooks/", "/hooks/%2e%2e/admin", False),
        ("/hooks/", "/hooks/%2E./admin", False),
        ("/hooks/", "/hooks/..%2fadmin", False),
        ("/hooks/", "/hooks/..%5cadmin", False),
        ("/hooks/", "/hooks/%252e%252e/admin", False),
        ("/hooks/", "/hooks/..\\admin", False),
        ("", "/hooks/one", True),
        ("hooks/", "hooks/one", False),
    ],
)
def test_a_prefix_covers_the_paths_below_it(prefix: str, path: str, *, is_below: bool) -> None:
    """From one slash to the next one, and never a path that may mean another."""
    assert covers(prefix, path) is is_below


@pytest.mark.parametrize(
    ("url", "is_below"),
    [
        ("https://hooks.acme.example/mcp/one?k=1", True),
        ("https://HOOKS.acme.example:443/mcp/one", True),
        ("https://hooks.acme.example:8443/mcp/one", False),
        ("https://hooks.acme.example.evil.example/mcp/one", False),
        ("https://hooks.acme.example/other", False),
        ("http://hooks.acme.example/mcp/one", False),
    ],
)
def test_a_url_is_below_one_of_its_own_origin(url: str, *, is_below: bool) -> None:
    """The port of HTTPS may be written or left out."""
    assert is_under(url, "https://hooks.acme.example/mcp/") is is_below

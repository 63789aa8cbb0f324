"""The tables `[auth.certificates]` and `[auth.proxy]`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lro_gateway.config.loading import load
from tests.config.test_auth import mistakes

Write = Callable[[str], Path]

PROXY = '[auth.proxy]\naddresses = ["10.0.0.0/8"]\n'


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('[auth.certificates]\nsubject = "spiffe"', "trust_domains need each other"),
        ('[auth.certificates]\ntrust_domains = ["a"]', "trust_domains need each other"),
        ('[auth.certificates]\ntenant = "trust_domain"', 'needs subject = "spiffe"'),
        (
            '[auth.certificates]\nsubject = "spiffe"\ntrust_domains = ["spiffe://a"]',
            "'spiffe://a' is not a trust domain, such as prod.acme.example",
        ),
        (
            "[auth.certificates]",
            "auth.certificates needs server.tls with client_ca, whose authorities sign them",
        ),
        ("[auth.proxy]", "auth.proxy.addresses: is missing"),
        ('[auth.proxy]\naddresses = []\nsubject = "X-User"', "auth.proxy.addresses:"),
        ('[auth.proxy]\naddresses = ["proxy"]\nsubject = "X-User"', "is neither an address nor"),
        (PROXY, "auth.proxy.subject: is missing"),
        (PROXY + 'subject = "X User"', "'X User' is not the name of a header"),
        (PROXY + 'subject = ""', "'' is not the name of a header"),
        (PROXY + 'subject = "Authorization"', "Authorization has another meaning"),
        (PROXY + 'subject = "x-forwarded-for"', "x-forwarded-for has another meaning"),
        (PROXY + 'subject = "X-A"\ntenant = "x-a"', "one header is named twice"),
        (PROXY + 'subject = "X-A"\nissuer = "a b"', "'a b' is not a name, such as proxy"),
        (PROXY + 'subject = "X-A"\nvalid_for = "2h"', "must be more than 0s and at most 1h"),
    ],
)
def test_a_wrong_setting_is_a_mistake(text: str, mistake: str, write: Write) -> None:
    """The text names the key and the cure."""
    found = mistakes(write(text))
    assert any(mistake in each for each in found), found


def test_a_proxy_identifies_the_callers_of_http(write: Write) -> None:
    """Only the addresses and the header of the subject must be set."""
    auth = load(write(PROXY + 'subject = "X-User"')).auth
    assert auth is not None
    assert auth.proxy is not None
    assert auth.identifies_http
    assert not auth.takes_tokens
    assert (auth.proxy.separator, auth.proxy.issuer) == (",", "proxy")

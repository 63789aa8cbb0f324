"""Entries of `allowed_hosts` and `allowed_origins` match each spelling, or are refused at start."""

from __future__ import annotations

import re

import pytest

from lro_gateway.config.hosts import Host, HostPattern, Origin


@pytest.mark.parametrize(
    ("entry", "matched", "other"),
    [
        ("gateway.test", ["gateway.test", "GATEWAY.test:99", "gateway.test."], ["a.gateway.test"]),
        ("GATEWAY.Test", ["gateway.test", "gateway.test:8080"], ["gateway.tes"]),
        ("gateway.test.", ["gateway.test", "gateway.test.:80"], ["gateway.test.evil.test"]),
        (" gateway.test/ ", ["gateway.test"], []),
        ("gateway.test:*", ["gateway.test", "gateway.test:99"], []),
        ("gateway.test:8443", ["Gateway.test:8443", "gateway.test:08443"], ["gateway.test"]),
        ("gateway.test:443", ["gateway.test", "gateway.test:443"], ["gateway.test:80"]),
        ("gateway.test:80", ["gateway.test", "gateway.test:80"], ["gateway.test:8080"]),
        (
            "*.gateway.test",
            ["a.gateway.test", "A.b.gateway.test:1"],
            ["gateway.test", "agateway.test"],
        ),
        ("*.gateway.test:8443", ["a.gateway.test:8443"], ["a.gateway.test"]),
        ("[2001:DB8::0:1]", ["[2001:db8::1]", "[2001:db8:0::1]:80"], ["[2001:db8::2]"]),
        ("2001:db8::1", ["[2001:db8::1]:8080"], []),
        ("[::1]:8080", ["[::1]:8080", "[0:0::1]:8080"], ["[::1]"]),
        ("10.0.0.5", ["10.0.0.5:8080"], ["10.0.0.50"]),
        ("bücher.test", ["xn--bcher-kva.test"], ["bucher.test"]),
        ("Straße.test", ["xn--strae-oqa.test"], ["strasse.test"]),
        ("my_gateway", ["my_gateway:8080"], []),
    ],
)
def test_an_allowed_host_matches_each_spelling(
    entry: str, matched: list[str], other: list[str]
) -> None:
    """Case, a dot at the end, default ports, Punycode and the spelling of IPv6 do not matter."""
    pattern = HostPattern.parse(entry)
    assert [host for host in matched if not pattern.matches(Host.parse(host))] == []
    assert [host for host in other if pattern.matches(Host.parse(host))] == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("*", '"*" would turn this check off'),
        ("https://gateway.test", "write the host alone"),
        ("gateway.test/lro", "write the host alone"),
        ("10.0.0.0/8", "write the host alone"),
        ("gateway.*", "* may stand only for the first part"),
        ("a*.gateway.test", "* may stand only for the first part"),
        ("*.10.0.0.5", "an address has no subdomains"),
        ("", "the host is empty"),
        ("gateway test", "is not a host"),
        ("user@gateway.test", "is not a host"),
        ("gateway.test:0", "0 is not a port"),
        ("gateway.test:99999", "99999 is not a port"),
        ("gateway.test:http", "is not a host"),
        ("[::g]", "::g"),
        (".gateway.test", "is not a host"),
        ("xn--\u200d.test", "is not a host"),
    ],
)
def test_an_allowed_host_that_could_never_match_is_refused(entry: str, problem: str) -> None:
    """The gateway does not start, and the error has the reason."""
    with pytest.raises(ValueError, match=re.escape(problem)):
        HostPattern.parse(entry)


@pytest.mark.parametrize(
    ("entry", "matched", "other"),
    [
        ("https://app.test", ["https://app.test"], ["http://app.test", "https://app.test:8443"]),
        ("HTTPS://App.Test/", ["https://app.test"], []),
        ("https://app.test:443", ["https://app.test"], ["https://app.test:444"]),
        ("http://app.test:80", ["http://app.test"], []),
        ("http://localhost:6274", ["http://localhost:6274"], ["http://127.0.0.1:6274"]),
        (
            "https://*.app.test",
            ["https://a.app.test", "https://a.b.app.test"],
            ["https://app.test"],
        ),
        ("https://*.app.test:8443", ["https://a.app.test:8443"], ["https://a.app.test"]),
        ("https://bücher.test", ["https://xn--bcher-kva.test"], []),
        ("http://[2001:DB8::0:1]:8080", ["http://[2001:db8::1]:8080"], []),
        ("chrome-extension://abcdefgh", ["chrome-extension://abcdefgh"], ["https://abcdefgh"]),
    ],
)
def test_an_allowed_origin_matches_the_spelling_of_browsers(
    entry: str, matched: list[str], other: list[str]
) -> None:
    """Browsers send lower case, Punycode, no default port and no slash at the end."""
    pattern = Origin.parse_entry(entry)
    assert [origin for origin in matched if not pattern.matches(Origin.parse(origin))] == []
    assert [origin for origin in other if pattern.matches(Origin.parse(origin))] == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("*", '"*" would allow pages that you do not know'),
        ("null", '"null" would allow pages that you do not know'),
        ("app.test", "write it as https://app.test"),
        ("localhost:3000", "write it as https://localhost:3000"),
        ("https://app.test/console", "an origin has no path"),
        ("https://:80", "is not a host"),
        ("https://app.*", "* may stand only for the first part"),
        ("https://user@app.test", "is not a host"),
        ("https://app.test:*", "* may stand only for the first part"),
        ("1://app.test", "is not an origin"),
    ],
)
def test_an_allowed_origin_that_could_never_match_is_refused(entry: str, problem: str) -> None:
    """The gateway does not start, and the error has the reason."""
    with pytest.raises(ValueError, match=re.escape(problem)):
        Origin.parse_entry(entry)

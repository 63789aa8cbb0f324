"""The tables `[backends.credentials]`: each mistake is told, and no secret is."""

from __future__ import annotations

import pytest

from lro_gateway.config.loading import load
from tests.config.test_loading import Write, mistakes

CLIENT = 'client_id = "c", client_secret = "env:TEST_SECRET", token_url = "https://login.test/t"'


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", "let-me-in")


def backend(settings: str, target: str = "127.0.0.1:1") -> str:
    """Return a configuration of one backend."""
    return f'[[backends]]\nname = "b"\ntarget = "{target}"\n{settings}\n'


def test_secrets_of_credentials_are_read_and_not_shown(write: Write) -> None:
    """A secret is in a variable or a file, as the keys are."""
    file = write(backend(f"credentials = {{ client_credentials = {{ {CLIENT} }} }}"))
    config = load(file)
    stated = config.backends[0].credentials
    assert stated is not None
    assert stated.client_credentials is not None
    assert stated.client_credentials.client_secret is not None
    assert stated.client_credentials.client_secret.get_secret_value() == "let-me-in"
    assert "let-me-in" not in f"{config!r} {config}"


MISTAKES = {
    'credentials = { bearer_file = "none" }': "there is no file",
    "credentials = {}": "one kind of credentials is needed",
    f"credentials = {{ google = {{}}, client_credentials = {{ {CLIENT} }} }}": "one kind of",
    'credentials = { client_credentials = { client_id = "c", token_url = "https://a/t" } }': (
        "set client_secret or client_key"
    ),
    'credentials = { client_credentials = { client_id = "c", client_secret = "let-me-in" } }': (
        "and not the secret itself"
    ),
    'credentials.client_credentials = { client_id = "c", client_secret = "env:TEST_SECRET" }': (
        "set token_url or issuer"
    ),
    f'credentials = {{ client_credentials = {{ {CLIENT}, issuer = "https://login.test" }} }}': (
        "set token_url or issuer"
    ),
    f'credentials = {{ token_exchange = {{ {CLIENT}, scopes = ["a b"] }} }}': "is not a scope",
    f"credentials = {{ token_exchange = {{ {CLIENT.replace('https', 'http')} }} }}": (
        "a URL with https is needed"
    ),
    'credentials = { google = { token = "id" } }': 'token = "id" needs audience',
    'credentials = { google = { audience = "a" } }': "an access token has none",
    'metadata = { authorization = "x" }\ncredentials = { google = {} }': (
        "metadata has authorization already"
    ),
    'metadata = { x-team = "x" }\npass_headers = ["X-Team"]': "metadata has x-team already",
}


@pytest.mark.parametrize("settings", MISTAKES)
def test_a_mistake_is_told_without_a_secret(write: Write, settings: str) -> None:
    """All are found when the configuration loads, and none at the first call."""
    (mistake,) = mistakes(write(backend(settings)))
    assert MISTAKES[settings] in mistake
    assert "let-me-in" not in mistake


@pytest.mark.parametrize(
    ("target", "is_refused"),
    [
        *(("127.0.0.1:1", False), ("localhost:1", False), ("[::1]:1", False)),
        *(("unix:/run/b", False), ("unix-abstract:b", False), ("dns:///localhost:1", False)),
        *(("ipv4:127.0.0.1:1,127.0.0.2:1", False), ("ipv6:[::1]:1", False)),
        *(("builds.internal:443", True), ("10.0.0.1:1", True), ("[fd00::1]:1", True)),
        *(("ipv4:127.0.0.1:1,10.0.0.1:1", True), ("dns:///localhost.evil.test:1", True)),
        ("dns://127.0.0.1:53/builds.internal:1", True),
    ],
)
def test_credentials_need_tls_beyond_this_machine(
    write: Write, target: str, is_refused: bool
) -> None:
    """A setting of the operator may say otherwise, for a network that is encrypted itself."""
    credentials = 'credentials = { google = { token = "access" } }'
    file = write(backend(credentials, target))
    if is_refused:
        (mistake,) = mistakes(file)
        assert "would go over the network without encryption: set tls = {}" in mistake
        allowed = credentials.replace("} }", "}, allow_plaintext = true }")
        load(write(backend(allowed, target)))
        load(write(backend(f"{credentials}\ntls = {{}}", target)))
    else:
        load(file)


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "Cookie", "proxy-authorization", "content-type", "te", "Host"),
        *("grpc-timeout", "x-token-bin", "x-goog-request-params", "traceparent", "baggage"),
        *("x-forwarded-for", "transfer-encoding", "user-agent", "sec-fetch-site"),
        *("", "x region", "x\\nadmin", ":path", "x-r\u00e9gion"),
    ],
)
def test_a_header_that_must_not_be_passed_on_is_refused(write: Write, name: str) -> None:
    """Such a header has credentials, is no metadata, or belongs to gRPC or the gateway."""
    (mistake,) = mistakes(write(backend(f'pass_headers = ["{name}"]')))
    assert "backends[0].pass_headers[0]: " in mistake


def test_the_names_of_passed_headers_become_those_of_metadata(write: Write) -> None:
    """Keys of metadata are in lower case."""
    config = load(write(backend('pass_headers = ["X-Region", "x_team"]')))
    assert config.backends[0].pass_headers == ("x-region", "x_team")

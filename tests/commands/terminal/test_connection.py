"""The address and the token of a gateway are checked before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from lro_gateway.commands.terminal.connection import Connection, token_of, url_of
from lro_gateway.commands.terminal.failures import CommandError
from tests.commands.stage import Stage
from tests.commands.terminal.test_completion import offered

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("gateway.test:8080", "http://gateway.test:8080"),
        ("https://gateway.test/", "https://gateway.test"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/mcp/", "http://127.0.0.1:8080"),
        ("https://gateway.test/lro/v1", "https://gateway.test/lro"),
        (" http://[::1]:8080\n", "http://[::1]:8080"),
    ],
)
def test_an_address_may_be_that_of_a_face(given: str, url: str) -> None:
    """`serve` prints the addresses of the faces, so people copy them."""
    assert url_of(given) == url


@pytest.mark.parametrize(
    "given",
    [
        *("", "http://", "ftp://gateway.test", "http://a:b", "http://a:99999", "http://a?b"),
        *("http://me:s3cret@gateway.test", "s3cret@gateway.test:80", "http://[::1", "http://a:0"),
        "a#b",
    ],
)
def test_an_address_that_cannot_be_one_is_a_mistake(given: str) -> None:
    """The error says what to write, and does not repeat a password."""
    with pytest.raises(CommandError) as caught:
        url_of(given)
    assert "the URL of the gateway" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.status == 2


@pytest.mark.parametrize("content", ["s3cret\n", "\ufeffs3cret\r\n", "  s3cret"])
def test_a_token_may_have_blanks_around_it(content: str, tmp_path: Path) -> None:
    """Editors add line ends, and some add a mark of the encoding."""
    file = tmp_path / "token"
    file.write_text(content)
    assert token_of(Connection(token_file=file)) == "s3cret"


@pytest.mark.parametrize("content", ["s3cret\nb = { hash }\n", "s3cret b", "s3cr\u00e9t", "s3\x00"])
def test_a_token_that_no_header_can_have_is_a_mistake(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as both lines of `token new`. The error names the source, and repeats nothing of it."""
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(CommandError, match=str(file)) as caught:
        token_of(Connection(token_file=file))
    assert "s3" not in str(caught.value).replace(str(file), "")
    if "\x00" in content:
        return  # No variable can have this character.
    monkeypatch.setenv("LRO_GATEWAY_TOKEN", content)
    with pytest.raises(CommandError, match="LRO_GATEWAY_TOKEN"):
        token_of(Connection(token_file=file))


async def test_a_gateway_of_this_machine_is_reached_without_the_proxy_of_the_environment(
    stage: Stage,
) -> None:
    """For the proxy, the address may be that of another machine."""
    await stage.client.create("orders")
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9"}
    listed = await stage.run("operations", "list", **proxies)
    assert (listed.status, listed.stdout.count("databases/orders")) == (0, 1), listed.stderr
    (shown,) = await offered(stage, "lro-gateway operations wait data", **proxies)
    assert shown.startswith("databases/orders/")


@pytest.mark.parametrize("proxy", ["socks5://u:secret@127.0.0.1:9", "nothing://u:secret@x:9"])
async def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    stage: Stage, proxy: str
) -> None:
    """A completion prints nothing then."""
    url = "http://gateway.test:8080"
    listed = await stage.run("operations", "list", "--gateway", url, ALL_PROXY=proxy)
    assert (listed.status, listed.stdout) == (2, "")
    assert listed.stderr.startswith("lro-gateway: the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_")
    assert "secret" not in listed.stderr
    shown = await stage.run(
        _LRO_GATEWAY_COMPLETE="complete_bash",
        COMP_WORDS="lro-gateway operations wait data",
        COMP_CWORD="3",
        LRO_GATEWAY_URL=url,
        ALL_PROXY=proxy,
    )
    assert (shown.stdout.strip(), shown.stderr) == ("", "")


async def test_a_proxy_that_is_away_is_named_as_a_cause(stage: Stage) -> None:
    """A person does not see that a proxy stands between."""
    listed = await stage.run(
        *("operations", "list", "--gateway", "http://gateway.test:8080"),
        HTTP_PROXY="http://127.0.0.1:9",
    )
    assert listed.status == 4
    assert "NO_PROXY" in listed.stderr

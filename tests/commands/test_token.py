"""The command `token new` prints a token, and the line for the file of tokens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lro_gateway.access.identity.static_tokens import StaticTokens
from lro_gateway.commands.cli import app


def run(*arguments: str) -> Result:
    """Run `lro-gateway token new`."""
    return CliRunner().invoke(app, ["token", "new", *arguments])


@pytest.mark.parametrize("scopes", ["read,start", "read, start", "read start"])
def test_the_token_is_valid_with_the_line_in_the_file(scopes: str, tmp_path: Path) -> None:
    """The first line of stdout is the token, and the second is the line."""
    ended = run("--subject", "ci", "--tenant", "infra", "--scopes", scopes, "--groups", "a b")
    token, line = ended.stdout.splitlines()
    file = tmp_path / "tokens.toml"
    file.write_text(line)
    caller = StaticTokens(file).principal(token)
    assert (ended.exit_code, caller.subject, caller.tenant) == (0, "ci", "infra")
    assert (sorted(caller.scopes), sorted(caller.groups)) == (["read", "start"], ["a b"])
    assert token not in line
    assert "it is not printed again" in ended.stderr


@pytest.mark.parametrize(
    ("life", "seconds"), [("90d", 90 * 86400), ("1d12h", 129_600), ("30m", 1800)]
)
def test_a_token_may_end(life: str, seconds: int, tmp_path: Path) -> None:
    """Days are possible too."""
    token, line = run("--subject", "ci", "--expires", life).stdout.splitlines()
    (tmp_path / "tokens.toml").write_text(line)
    expires = StaticTokens(tmp_path / "tokens.toml").principal(token).expires
    assert abs(expires - time.time() - seconds) < 60


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--subject", ""), "--subject is empty"),
        (("--subject", "a\nb"), "--subject has characters that cannot be printed"),
        (("--subject", "a", "--scopes", "a,,b"), "--scopes needs names with commas"),
        (("--subject", "a", "--expires", "90"), "--expires '90' is no duration"),
        (("--subject", "a", "--expires", "0s"), "must be more than 0s"),
        (("--subject", "a", "--expires", "99999d"), "must be more than 0s and at most 36500d"),
        ((), "Missing option '--subject'"),
    ],
)
def test_a_wrong_option_prints_no_token(arguments: tuple[str, ...], problem: str) -> None:
    """The exit status is 2."""
    ended = run(*arguments)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert problem in " ".join(ended.stderr.split())

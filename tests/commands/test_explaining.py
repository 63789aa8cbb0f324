"""`lro-gateway check --as`: it prints which rule decides, and its status tells the decision."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.test_cli import run

CONFIG = """
[[policy]]
name = "on call"
allow = ["get", "list"]
groups = ["oncall"]
names = ["databases/**"]

[[policy]]
allow = ["delete"]
scopes = ["admin", "write"]

[[backends]]
name = "demo"
target = "127.0.0.1:1"
descriptors = []
"""


@pytest.mark.parametrize(
    ("arguments", "status", "lines"),
    [
        (
            ["--as", "ci@data", "--groups", "dev,oncall", "get", "databases/x/operations/1"],
            0,
            [
                "ci@data may get databases/x/operations/1 on demo",
                "  policy[0] (on call): it matches, and allows",
            ],
        ),
        (
            ["--as", "ci", "--backend", "demo", "delete", "jobs/1"],
            1,
            [
                "ci may not delete jobs/1 on demo",
                "  policy[0] (on call): the caller is not in oncall",
                "  policy[1]: the caller lacks admin, write",
                "  no rule matches, so the answer is no",
                "  with the scopes admin write the answer would be yes",
            ],
        ),
    ],
)
def test_the_decision_is_printed_and_is_the_status(
    tmp_path: Path, arguments: list[str], status: int, lines: list[str]
) -> None:
    """The backend need not run, because nothing is asked of it."""
    (tmp_path / "gateway.toml").write_text(CONFIG)
    ended = run("check", "--config", "gateway.toml", *arguments, directory=tmp_path)
    assert (ended.stderr, ended.returncode) == ("", status)
    assert ended.stdout.splitlines() == lines


def test_what_an_allowed_call_needs_besides_is_told(tmp_path: Path) -> None:
    """The rules are not all that decides. A refused call needs nothing, because it is not made."""
    (tmp_path / "tokens.toml").touch()
    (tmp_path / "gateway.toml").write_text(
        """
[auth]
tokens = "tokens.toml"
[[policy]]
allow = ["*"]
subjects = ["ci"]
[[backends]]
name = "demo"
target = "127.0.0.1:1"
descriptors = ["module:lro_gateway.demo.v1"]
confirm = ["*/CancelOperation", "*/CreateDatabase"]
approval = ["*/CreateDatabase", "*/BackupDatabase"]
"""
    )
    agrees = "  a person must then agree to the call, because `confirm` lists its RPC"
    waits = "  the call then waits until somebody approves it, because `approval` lists its method"

    def told(*arguments: str) -> list[str]:
        ended = run("check", "--config", "gateway.toml", *arguments, directory=tmp_path)
        assert ended.stderr == ""
        return ended.stdout.splitlines()[2:]

    database = '{"databaseId": "a"}'
    start = ("start", "CreateDatabase", "--args", database)
    assert told("--as", "ci", *start) == [agrees, waits]
    backup = '{"name": "databases/a", "backupId": "b"}'
    assert told("--as", "ci", "start", "BackupDatabase", "--args", backup) == [waits]
    assert told("--as", "ci", "cancel", "jobs/1") == [agrees]
    assert told("--as", "ci", "delete", "jobs/1") == []
    assert told("--as", "ci", "approve", "CreateDatabase", "--args", database) == []
    assert told("--as", "eve", *start) == ["  no rule matches, so the answer is no"]
    wrong = run(
        "check",
        "--config",
        "gateway.toml",
        "--as",
        "ci",
        "start",
        "CraeteDatabase",
        directory=tmp_path,
    )
    assert "there are: lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase," in wrong.stderr
    ended = run(
        "check",
        "--config",
        "gateway.toml",
        "--as",
        "ci\x1b[31m",
        "get",
        "jobs/1",
        directory=tmp_path,
    )
    assert "\x1b" not in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        (["get", "jobs/1"], "get needs --as, which says who calls"),
        (["--scopes", "read"], "--scopes needs --as, which says who calls"),
        (["--args", "{}"], "--args needs --as, which says who calls"),
        (["--as", "ci"], "--as needs a verb: get, list,"),
        (["--as", "ci", "get"], "get needs the name of an operation or of a method"),
        (["--as", "ci", "get", "a", "b"], "there is one name too many: 'b'"),
        (["--as", "ci", "--backend", "no", "get", "a"], "there is no backend 'no'"),
        (["--as", "ci", "--args", "{", "start", "a.B/C"], "--args is not JSON"),
        (["--as", "ci", "--args", "[]", "start", "a.B/C"], "--args needs a JSON object"),
        (["--as", "ci", "start", "a.B/C"], "there is no method 'a.B/C'"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, arguments: list[str], mistake: str) -> None:
    """With the status of mistakes."""
    (tmp_path / "gateway.toml").write_text(CONFIG)
    ended = run("check", "--config", "gateway.toml", *arguments, directory=tmp_path)
    assert (ended.stdout, ended.returncode) == ("", 2)
    assert mistake in ended.stderr

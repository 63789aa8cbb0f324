"""Two people with static tokens at their command lines: one asks, and the other one decides."""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.config.loading import load
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http
from tests.commands.stage import COMMAND, Stage
from tests.service.approved import backend_of

CONFIG = """
[server]
port = 0
sync_grace = "0s"
[store]
url = "sqlite:///store.sqlite3"
[auth]
tokens = "tokens.toml"
[[policy]]
allow = ["*"]
[[backends]]
name = "east"
target = "{}"
approval = "required"
"""
VARYING = re.compile(
    r"(?:\d+ (?:s|min) ago )?\(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)


@dataclass
class Person:
    """Somebody with a token at a command line."""

    url: str
    token: Path

    async def types(self, *words: str) -> tuple[int, str]:
        """Run a command; return its status and what it printed."""
        options = ("--gateway", self.url, "--token-file", str(self.token))
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, *words, *options), stdout=PIPE, stderr=STDOUT
        )
        printed, _ = await process.communicate()
        return process.returncode or 0, printed.decode()


async def test_one_asks_and_the_other_one_decides(tmp_path: Path) -> None:
    """The caller that asked waits for the handle as for an operation."""
    lines = []
    for name in ("agent", "ana"):
        token, entry = new_token(name)
        lines.append(entry.line)
        (tmp_path / name).write_text(token)
    (tmp_path / "tokens.toml").write_text("\n".join(lines))
    async with backend_of() as backend:
        file = tmp_path / "gateway.toml"
        file.write_text(CONFIG.format(backend.target))
        async with Gateway.open(load(file)) as gateway, serve_http(gateway) as server:
            agent, ana = (Person(server.url, tmp_path / name) for name in ("agent", "ana"))
            fields = ("--field", "parent=lines/1", "--field", 'machine:={"title":"Press"}')
            keyed = ("call", "BuildMachine", *fields, "--idempotency-key", "nightly")
            status, asked = await agent.types(*keyed)
            assert (status, "operations wait approvals/" in asked) == (0, True), asked
            status, again = await agent.types(*keyed)
            told = "An earlier call with this key has asked for it, and it is not called yet. "
            assert (status, told in again) == (0, True), again
            status, mine = await agent.types("operations", "list", "--mine")
            hint = "no operations; calls wait for an approval: `lro-gateway approvals list` shows"
            assert (status, mine.startswith(hint)) == (0, True), mine
            status, listed = await ana.types("approvals", "list")
            name, *cells = listed.splitlines()[1].split()
            expected = ["pending", "BuildMachine", "east", "agent", "in", "23", "h"]
            assert (status, cells) == (0, expected)
            status, described = await ana.types("approvals", "describe", name[-32:-20])
            assert status == 0
            assert VARYING.sub("...", described).splitlines() == [
                f"Approval  {name}",
                "Method    factory.v1.Factory/BuildMachine",
                "Backend   east",
                "State     pending",
                "          It is not called yet. It waits for an approval until ....",
                "Asked by  agent, ...",
                "Expires   in 23 h ...",
                "",
                "Request",
                "  machine:",
                "    title: Press",
                "  parent: lines/1",
                "  requestId: ...",
            ]
            status, same = await ana.types("operations", "describe", name)
            assert (status, VARYING.sub("", same)) == (0, VARYING.sub("", described))
            status, refused = await agent.types("approvals", "approve", name)
            assert (status, "somebody else must approve" in refused) == (2, True)
            status, empty = await ana.types("approvals", "approve", "")
            assert (status, "an id that begins or ends with ''" in empty) == (2, True), empty
            status, told = await ana.types("approvals", "approve", name, "--reason", "ok")
            assert (status, "and has started jobs/1" in told) == (0, True), told
            status, waited = await agent.types("operations", "wait", name)
            assert (status, "jobs/1 succeeded" in waited) == (0, True), waited
            status, over = await ana.types("approvals", "describe", name)
            assert "Decided by  ana, " in over
            assert "Operation   jobs/1" in over
            assert "Expires" not in over
            status, timeline = await agent.types("operations", "describe", "jobs/1")
            assert (status, re.findall(r"ago +(.*)", timeline)) == (
                0,
                [
                    "request for an approval by agent",
                    "approval by ana",
                    "start through the gateway",
                    "end that the gateway saw",
                ],
            )
            status, late = await ana.types("approvals", "refuse", name)
            assert (status, "is no longer pending, but started" in late) == (2, True)
        assert backend.count("BuildMachine") == 1


async def test_a_gateway_without_such_calls_says_so(stage: Stage) -> None:
    """Without this, the words would be about the name of an operation."""
    for arguments in (("list",), ("describe", "abc"), ("approve", "abc")):
        ended = await stage.run("approvals", *arguments)
        assert (ended.status, ended.stdout) == (2, ""), arguments
        assert "no call needs an approval here" in ended.stderr

"""The completion of names in a shell."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2

from lro_gateway.demo.pace import Gate
from tests.commands.stage import COMMAND, Stage
from tests.contrary import ContraryBackend, answering
from tests.gateways import serving

pytestmark = pytest.mark.anyio


async def completed(stage: Stage, words: str, **variables: str) -> list[str]:
    """Return what bash would offer after these words."""
    ended = await stage.run(
        _LRO_GATEWAY_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
        **variables,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


async def offered(stage: Stage, words: str, **variables: str) -> list[str]:
    """Return what bash offers as soon as it offers something.

    A completion gives up after a second, which a busy machine may need.
    """
    async with asyncio.timeout(60):
        while not (found := await completed(stage, words, **variables)):
            pass
    return found


async def test_names_and_short_names_of_operations_are_completed(stage: Stage) -> None:
    """A shell also completes commands and options."""
    created = await stage.client.create("orders")
    last = created.name.rpartition("/")[2]
    assert await offered(stage, "lro-gateway operations wait data") == [created.name]
    assert await offered(stage, f"lro-gateway operations describe {last[:3]}") == [last]
    assert await completed(stage, "lro-gateway oper") == ["operations"]
    assert await completed(stage, "lro-gateway operations can") == ["cancel"]


async def test_without_a_gateway_nothing_is_completed(stage: Stage) -> None:
    """An error has no place in the line that a person writes."""
    down = {"LRO_GATEWAY_URL": "http://127.0.0.1:9"}
    assert await completed(stage, "lro-gateway operations wait data", **down) == []


async def test_a_name_that_a_shell_would_evaluate_is_not_completed() -> None:
    """A service names its operations, and must not run a command of a person who presses Tab."""
    hostile = (
        *("a\\$(id)b", "a$(id)", "a`id`", "a\\`id`", "a'$(id)'", 'a"; id; "', "a)); id", "a;b"),
        *(
            "a b",
            "a\nb",
            "a\tb",
            "a\x1b[2J",
            "a\u202eb",
            "a&b",
            "a|b",
            "a*",
            "a?",
            "a[b]",
            "a{b,c}",
        ),
        *("a#b", "a!b", "a<b", "a>b", "-a", "~a", "=a", ":a", "a\\b"),
    )
    good = "jobs/1/operations/A-1.b_c~%2F:é"
    operations = [operations_pb2.Operation(name=name) for name in (*hostile, good)]
    listed: Any = operations_pb2.ListOperationsResponse(operations=operations)
    no_client: Any = None
    async with (
        ContraryBackend.open({"ListOperations": answering(listed)}) as backend,
        serving({"name": "odd", "target": backend.target}) as url,
    ):
        stage = Stage(Gate(), no_client, url, backend.target)
        found = await offered(stage, "lro-gateway operations describe ")
    assert found == [good, good.rpartition("/")[2]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_each_shell_completes_a_name_after_the_installation(
    stage: Stage, tmp_path: Path, shell: str
) -> None:
    """`--install-completion` knows the shell that runs it. A later one completes at Tab."""
    if shutil.which(shell) is None:
        problem = f"{shell} is not installed; run scripts/setup --tests as root on Debian"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)
    created = await stage.client.create("orders")
    variables: dict[str, Any] = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    install = ("-c", "lro-gateway --install-completion; true")
    async with stage.terminal(*install, program=shell, **variables) as terminal:
        await terminal.until(f"{shell} completion installed")
        await terminal.end()
    line = "lro-gateway operations describe data"
    # With an empty home, an interactive fish would read all manual pages of the system.
    asked = ("-c", f"complete -C '{line}'") if shell == "fish" else ("-i",)
    async with stage.terminal(*asked, program=shell, columns=200, **variables) as terminal:
        if shell != "fish":
            terminal.write("echo rea''dy\n")
            await terminal.until("ready")
            # The first Tab of a zsh only loads the completion.
            terminal.write(f"{line}\t\t" if shell == "zsh" else f"{line}\t")
        await terminal.until(created.name.removeprefix("data"))

"""Agent frameworks convert the tools of the gateway without an error or a loss, and call them.

The frameworks run in an environment of their own, which `scripts/setup --tests` makes.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from tests.contrary import answering
from tests.demo.client import Client as Owner
from tests.gateways import serving
from tests.mcp.offered import offered_tools
from tests.mcp.reports import finished, report, serving_reports

# The program imports eight frameworks and converts 150 tools by 17 converters.
pytestmark = pytest.mark.timeout(600)

Schema = dict[str, Any]

TESTS = Path(__file__).parents[1]
PYTHON = TESTS.parent / ".venv" / "converters" / "bin" / "python"
PROGRAM = TESTS / "mcp" / "converters.py"

WHOLE = (
    *("openai-agents", "openai-agents strict", "google-adk", "anthropic"),
    *("pydantic-ai openai", "pydantic-ai google", "langchain"),
    *("mcp-use openai", "mcp-use anthropic", "mcp-use google"),
)
"""The converters that keep all fields, descriptions, required fields and values of enums."""
WITHOUT_MAPS = (
    *("google-genai", "google-adk schema", "anthropic strict", "pydantic-ai openai strict"),
    *("langchain strict", "mcp-use langchain"),
)
"""The converters that leave out the schema of a map's values, because their target has no maps."""
WITHOUT_ENUMS = ("mcp-use langchain",)
"""The converters that leave out the values of all enums."""
FRAMEWORKS = (
    *("openai-agents", "google-genai", "google-adk", "anthropic"),
    *("pydantic-ai", "langchain", "fastmcp", "mcp-use"),
)


@pytest.fixture(scope="module")
async def printed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run all frameworks once, with all tools and two gateways; return their lines."""
    if not PYTHON.exists():
        problem = "the agent frameworks are not installed; run scripts/setup --tests"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)
    directory = tmp_path_factory.mktemp("converters")
    gate = Gate()
    async with (
        DemoServer.open(tmp_path_factory.mktemp("demo"), pace=gate) as demo,
        grpc.aio.insecure_channel(demo.target) as channel,
        serving({"name": "demo", "target": demo.target}, sync_grace="0.1s") as url,
        serving_reports(
            {"GetOperation": answering(finished(report(1000, 100)))}, mcp={"resource_links": False}
        ) as (cutting, _),
    ):
        await Owner(channel).create("orders")
        async with gate:
            output = await _run(directory, f"{url}/mcp", cutting)
    return [json.loads(line) for line in output.splitlines()]


async def _run(directory: Path, *urls: str) -> bytes:
    """Run the program; return its output. It imports the frameworks while the tools are listed."""
    process = await asyncio.create_subprocess_exec(
        *(str(PYTHON), str(PROGRAM), *urls),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # The frameworks see no key, no proxy and no setting of the machine.
        env={"HOME": str(directory), "MCP_USE_ANONYMIZED_TELEMETRY": "false"},
    )
    try:
        whole = {"tool_budget": 0}
        tools = await offered_tools(directory, {}, whole, {**whole, "output_schemas": "full"})
        lines = [tool.model_dump_json(by_alias=True, exclude_none=True) for tool in tools]
        output, _ = await process.communicate("\n".join(lines).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return output


@pytest.fixture(scope="module")
def converted(printed: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the outcomes by converter."""
    outcomes = defaultdict(list)
    for line in printed:
        if "converter" in line:
            outcomes[line["converter"]].append(line)
    return outcomes


def test_no_converter_raises(converted: dict[str, list[dict[str, Any]]]) -> None:
    """Each gets the tools of the demo, of Google's services and of messages of every shape."""
    assert converted.keys() == {*WHOLE, *WITHOUT_MAPS, "fastmcp results"}
    for name, outcomes in converted.items():
        assert [(each["tool"], each["error"]) for each in outcomes if "error" in each] == []
        assert name == "fastmcp results" or len({each["tool"] for each in outcomes}) > 140


@pytest.mark.parametrize("converter", [*WHOLE, *WITHOUT_MAPS])
def test_a_converter_keeps_what_a_model_must_know(
    converted: dict[str, list[dict[str, Any]]], converter: str
) -> None:
    """It loses no field, description, required field or value of an enum that it could keep."""
    for each in converted[converter]:
        lost = facts(each["given"]) - facts(each["schema"])
        if converter in WITHOUT_MAPS:
            lost = {fact for fact in lost if "{}" not in fact}
        if converter in WITHOUT_ENUMS:
            lost = {fact for fact in lost if "=" not in fact}
        assert lost == set(), each["tool"]


def facts(schema: Schema, path: str = "") -> set[str]:
    """Return what a schema says of the fields below a path."""
    found = {f"{path} needs {name}" for name in schema.get("required", ())}
    found |= {f"{path}={value}" for value in schema.get("enum", ())}
    for key, each in schema.get("properties", {}).items():
        found |= {f"{path}.{key}"} | facts(each, f"{path}.{key}")
        if "description" in each:
            found.add(f"{path}.{key} is described")
    for key, sign in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            found |= facts(schema[key], path + sign)
    # A converter may write an optional field as a union with null.
    for key in ("anyOf", "any_of"):
        for each in schema.get(key, ()):
            found |= facts(each, path)
    return found


def test_a_tool_is_strict_unless_it_takes_objects_of_any_fields(
    converted: dict[str, list[dict[str, Any]]],
) -> None:
    """OpenAI's strict tools cannot have maps or other open objects."""
    outcomes = converted["openai-agents strict"]
    for each in outcomes:
        assert each["schema"]["strict"] is not has_open_object(each["given"]), each["tool"]
    assert len([each for each in outcomes if each["schema"]["strict"]]) > 80


def has_open_object(schema: Schema) -> bool:
    """Return whether a schema or one in it is an object of any fields, or a map."""
    inner = [*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])]
    is_open = schema["type"] == "object" and not schema.get("properties")
    return is_open or any(map(has_open_object, inner))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_starts_follows_and_cancels_an_operation(
    printed: list[dict[str, Any]], framework: str
) -> None:
    """It calls with plain arguments by its own objects of the tools."""
    (outcome,) = [line for line in printed if line.get("framework") == framework]
    assert outcome.get("saw", outcome) == {
        "response": "databases/orders",
        "done": [False, False, True],
        "code": 1,
    }


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_reads_an_answer_that_is_cut(
    printed: list[dict[str, Any]], framework: str
) -> None:
    """Some frameworks fail on a link to a resource, so this gateway gives none."""
    (outcome,) = [line for line in printed if line.get("framework") == framework]
    assert outcome.get("cut", outcome) == "reports/1"

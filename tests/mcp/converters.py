# mypy: ignore-errors
# ruff: noqa: SLF001  # frameworks convert tools in functions of their own, which their agents call
# This script runs in its own environment, with the frameworks and version 1 of the package mcp.
"""Agent frameworks convert the tools on standard input, and then call gateways at two URLs.

The second gateway has an operation whose response is so large that the answer is cut.

The input has one JSON tool a line. The output has one JSON object a line: the schema that a
converter made of the arguments of a tool, the error that it raised, or what a framework saw of its
calls. Without arguments, the program only imports the frameworks, so that Python compiles them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent, RunContextWrapper
from agents.mcp import MCPServerStreamableHttp, MCPUtil
from agents.tool_context import ToolContext
from anthropic import transform_schema
from anthropic.lib.tools.mcp import async_mcp_tool
from fastmcp import Client as FastClient
from fastmcp.utilities.json_schema_type import json_schema_to_type_adapter
from google.adk.tools._gemini_schema_util import _to_gemini_schema
from google.adk.tools.mcp_tool import McpToolset, StreamableHTTPConnectionParams
from google.adk.tools.mcp_tool.mcp_tool import McpTool
from google.genai._adapters import McpToGenAiToolAdapter
from google.genai._mcp_utils import mcp_to_gemini_tools
from google.genai.types import FunctionCall
from langchain_core.messages import ToolMessage, convert_to_openai_messages
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.tools import convert_mcp_tool_to_langchain_tool, load_mcp_tools
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import Tool
from mcp_use import MCPClient
from mcp_use.agents import adapters
from pydantic_ai import RunContext, RunUsage
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.test import TestModel
from pydantic_ai.profiles.google import GoogleJsonSchemaTransformer
from pydantic_ai.profiles.openai import OpenAIJsonSchemaTransformer

Call = Callable[[str, dict[str, Any]], Awaitable[Any]]
Schema = dict[str, Any]

NOWHERE = "http://127.0.0.1:1/mcp"


def openai_agents(tool: Tool, *, strict: bool) -> Schema:
    """Return the parameters, and beside them whether they are strict."""
    made = MCPUtil.to_function_tool(tool, MCPServerStreamableHttp({"url": NOWHERE}), strict)
    return {**made.params_json_schema, "strict": made.strict_json_schema}


def google_genai(tool: Tool) -> Schema:
    """Return google-genai's own form of a schema."""
    [declaration] = mcp_to_gemini_tools([tool])[0].function_declarations
    return declaration.parameters.model_dump(mode="json", exclude_none=True)


def google_adk(tool: Tool) -> Schema:
    """Return JSON Schema, which ADK sends today."""
    made = McpTool(mcp_tool=tool, mcp_session_manager=None)
    return made._get_declaration().parameters_json_schema


def google_adk_schema(tool: Tool) -> Schema:
    """Return google-genai's own form of a schema, which older versions of ADK send."""
    return _to_gemini_schema(tool.inputSchema).model_dump(mode="json", exclude_none=True)


def langchain(tool: Tool, *, strict: bool) -> Schema:
    """Return the parameters of a tool of OpenAI that LangChain makes of its own tool."""
    connection = {"transport": "streamable_http", "url": NOWHERE}
    made = convert_mcp_tool_to_langchain_tool(None, tool, connection=connection)
    return convert_to_openai_tool(made, strict=strict)["function"]["parameters"]


def mcp_use_langchain(tool: Tool) -> Schema:
    """Return the schema of the model that mcp-use makes for LangChain."""
    made = adapters.LangChainAdapter()._convert_tool(tool, None)
    return convert_to_openai_tool(made)["function"]["parameters"]


def mcp_use_openai(tool: Tool) -> Schema:
    """Return the parameters of the function."""
    return adapters.OpenAIMCPAdapter()._convert_tool(tool, None)["function"]["parameters"]


def mcp_use_google(tool: Tool) -> Schema:
    """Return JSON Schema."""
    return adapters.GoogleMCPAdapter()._convert_tool(tool, None).parameters_json_schema


INPUTS: dict[str, Callable[[Tool], Schema]] = {
    "openai-agents": lambda tool: openai_agents(tool, strict=False),
    "openai-agents strict": lambda tool: openai_agents(tool, strict=True),
    "google-genai": google_genai,
    "google-adk": google_adk,
    "google-adk schema": google_adk_schema,
    "anthropic": lambda tool: async_mcp_tool(tool, None).to_dict()["input_schema"],
    "anthropic strict": lambda tool: transform_schema(tool.inputSchema),
    "pydantic-ai openai": lambda tool: OpenAIJsonSchemaTransformer(tool.inputSchema).walk(),
    "pydantic-ai openai strict": lambda tool: OpenAIJsonSchemaTransformer(
        tool.inputSchema, strict=True
    ).walk(),
    "pydantic-ai google": lambda tool: GoogleJsonSchemaTransformer(tool.inputSchema).walk(),
    "langchain": lambda tool: langchain(tool, strict=False),
    "langchain strict": lambda tool: langchain(tool, strict=True),
    "mcp-use openai": mcp_use_openai,
    "mcp-use anthropic": lambda tool: adapters.AnthropicMCPAdapter()._convert_tool(tool, None)[
        "input_schema"
    ],
    "mcp-use google": mcp_use_google,
    "mcp-use langchain": mcp_use_langchain,
}
"""The converters of the schemas of arguments."""


def fastmcp_results(tool: Tool) -> Schema:
    """Return the schema of the type that FastMCP makes for the results of a tool."""
    return json_schema_to_type_adapter(tool.outputSchema).json_schema()


def convert(lines: list[str]) -> None:
    """Convert each schema once by each converter, and print the outcome."""
    tools = [Tool.model_validate_json(line) for line in lines]
    inputs = {json.dumps([tool.name, tool.inputSchema]): tool for tool in tools}
    results = {json.dumps(tool.outputSchema): tool for tool in tools if tool.outputSchema}
    for name, converter in INPUTS.items():
        for tool in inputs.values():
            attempt(name, converter, tool)
    for tool in results.values():
        attempt("fastmcp results", fastmcp_results, tool)


def attempt(name: str, converter: Callable[[Tool], Schema], tool: Tool) -> None:
    """Print the schema that a converter makes, or its error. Some converters change their input."""
    outcome: dict[str, Any] = {"converter": name, "tool": tool.name, "given": tool.inputSchema}
    try:
        outcome["schema"] = converter(tool.model_copy(deep=True))
    except Exception as error:  # noqa: BLE001  # a converter may raise anything
        outcome["error"] = repr(error)
    print_line(outcome)


def print_line(line: dict[str, Any]) -> None:
    """Print a line of JSON, and flush it."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


@asynccontextmanager
async def session_at(url: str) -> AsyncIterator[ClientSession]:
    """Open a session of the package mcp."""
    async with (
        streamablehttp_client(url) as (reader, writer, _),
        ClientSession(reader, writer) as session,
    ):
        await session.initialize()
        yield session


@asynccontextmanager
async def calls_of_openai_agents(url: str) -> AsyncIterator[Call]:
    """Call the function tools of the OpenAI Agents SDK."""
    async with MCPServerStreamableHttp({"url": url}) as server:
        agent = Agent(name="agent", mcp_servers=[server])
        found = await MCPUtil.get_function_tools(server, True, RunContextWrapper(None), agent)
        tools = {tool.name: tool for tool in found}

        async def call(name: str, arguments: dict[str, Any]) -> Any:
            text = json.dumps(arguments)
            context = ToolContext(None, tool_name=name, tool_call_id="1", tool_arguments=text)
            return await tools[name].on_invoke_tool(context, text)

        yield call


@asynccontextmanager
async def calls_of_google_genai(url: str) -> AsyncIterator[Call]:
    """Call as google-genai does when a model answers with a function call."""
    async with session_at(url) as session:
        adapter = McpToGenAiToolAdapter(session, await session.list_tools())

        async def call(name: str, arguments: dict[str, Any]) -> Any:
            result = await adapter.call_tool(FunctionCall(name=name, args=arguments))
            return result.structuredContent

        yield call


@asynccontextmanager
async def calls_of_google_adk(url: str) -> AsyncIterator[Call]:
    """Call the tools of the Agent Development Kit."""
    toolset = McpToolset(connection_params=StreamableHTTPConnectionParams(url=url))
    tools = {tool.name: tool for tool in await toolset.get_tools()}

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        result = await tools[name].run_async(args=arguments, tool_context=None)
        return result["structuredContent"]

    try:
        yield call
    finally:
        await toolset.close()


@asynccontextmanager
async def calls_of_anthropic(url: str) -> AsyncIterator[Call]:
    """Call the tools of Anthropic's SDK."""
    async with session_at(url) as session:
        listed = await session.list_tools()
        tools = {tool.name: async_mcp_tool(tool, session) for tool in listed.tools}
        yield lambda name, arguments: tools[name].call(arguments)


@asynccontextmanager
async def calls_of_pydantic_ai(url: str) -> AsyncIterator[Call]:
    """Call the tools of a toolset of Pydantic AI.

    By default, it starts an operation as a task and returns only when the task ends.
    """
    context = RunContext(deps=None, model=TestModel(), usage=RunUsage())
    async with MCPToolset(url, prefer_tasks=False) as toolset:
        tools = await toolset.get_tools(context)
        yield lambda name, arguments: toolset.call_tool(name, arguments, context, tools[name])


@asynccontextmanager
async def calls_of_langchain(url: str) -> AsyncIterator[Call]:
    """Call the tools of LangChain."""
    async with session_at(url) as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(name: str, arguments: dict[str, Any]) -> Any:
            content = await tools[name].ainvoke(arguments)
            # LangChain sends the result to OpenAI in this form.
            message = convert_to_openai_messages(ToolMessage(content, tool_call_id="1"))
            return message["content"]

        yield call


@asynccontextmanager
async def calls_of_fastmcp(url: str) -> AsyncIterator[Call]:
    """Call by FastMCP's client, which makes an object of each result by its output schema."""
    async with FastClient(url) as client:

        async def call(name: str, arguments: dict[str, Any]) -> Any:
            result = await client.call_tool(name, arguments)
            assert result.data is not None or not result.structured_content
            return result.structured_content

        yield call


@asynccontextmanager
async def calls_of_mcp_use(url: str) -> AsyncIterator[Call]:
    """Call the tools that mcp-use makes for LangChain."""
    client = MCPClient({"mcpServers": {"gateway": {"url": url}}})
    made = await adapters.LangChainAdapter().create_tools(client)
    tools = {tool.name: tool for tool in made}
    try:
        yield lambda name, arguments: tools[name].ainvoke(arguments)
    finally:
        await client.close_all_sessions()


FRAMEWORKS = {
    "openai-agents": calls_of_openai_agents,
    "google-genai": calls_of_google_genai,
    "google-adk": calls_of_google_adk,
    "anthropic": calls_of_anthropic,
    "pydantic-ai": calls_of_pydantic_ai,
    "langchain": calls_of_langchain,
    "fastmcp": calls_of_fastmcp,
    "mcp-use": calls_of_mcp_use,
}


async def work(framework: str, call: Call) -> dict[str, Any]:
    """Read a finished operation; start one, look at it, cancel it, and wait for its end."""
    listed = answer(await call("list_operations", {"state": "succeeded"}))
    finished = answer(await call("wait_operation", {"name": listed["operations"][0]["name"]}))
    backup = {"name": "databases/orders", "backupId": framework}
    started = answer(await call("backup_database", backup))
    operation = {"name": started["name"]}
    looked = answer(await call("get_operation", operation))
    await call("cancel_operation", operation)
    ended = answer(await call("wait_operation", operation))
    return {
        "response": finished["response"]["name"],
        "done": [started["done"], looked["done"], ended["done"]],
        "code": ended["error"]["code"],
    }


def answer(result: Any) -> Any:
    """Return the JSON of a result, which is an object, or text with words after the JSON."""
    if isinstance(result, list):
        result = result[0]
    if isinstance(result, dict) and result.get("type") == "text":
        result = result["text"]
    return json.JSONDecoder().raw_decode(result)[0] if isinstance(result, str) else result


async def call_all(url: str, cutting_url: str) -> None:
    """Let each framework work, and print what it saw or its error."""
    for framework, calls in FRAMEWORKS.items():
        outcome: dict[str, Any] = {"framework": framework}
        try:
            async with calls(url) as call:
                outcome["saw"] = await work(framework, call)
            async with calls(cutting_url) as call:
                report = answer(await call("get_operation", {"name": "reports/1/operations/1"}))
                outcome["cut"] = report["response"]["name"]
        except Exception as error:  # noqa: BLE001  # a framework may raise anything
            outcome["error"] = repr(error)
        print_line(outcome)


def refuse_other_hosts(event: str, arguments: tuple[Any, ...]) -> None:
    """End the process if a framework connects to another machine."""
    if event == "socket.connect" and isinstance(address := arguments[1], tuple):
        assert address[0] == "127.0.0.1", f"a framework connects to {address}"


if len(sys.argv) > 1:
    sys.addaudithook(refuse_other_hosts)
    logging.disable(logging.ERROR)
    convert(sys.stdin.read().splitlines())
    asyncio.run(call_all(*sys.argv[1:]))

"""Files, functions and folders stay small, and each module has tests.

import-linter checks the direction of imports.
"""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "lro_gateway"
MODULES = [
    path.relative_to(PACKAGE)
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_pb2" not in path.name and path.name != "__init__.py"
]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_ENTRIES = 20
TESTED_ELSEWHERE = {
    # Linking reads, repairs and compares the declarations of files.
    "descriptors/declarations": "descriptors/test_linking",
    "descriptors/repairs": "descriptors/test_linking",
    "descriptors/shapes": "descriptors/test_linking",
    # The tests of the policy decide by rules of every kind, and read the errors.
    "access/deciding": "access/test_rule_policy",
    "access/denials": "access/test_rule_policy",
    "rest/openapi/allowed_paths": "access/test_policy_faces",
    "service/views": "access/test_policy_faces",
    # The tests of the route and of the command ask the service for explanations.
    "service/explaining": "rest/test_explaining",
    "commands/terminal/webhook_client": "commands/test_webhooks",
    "commands/terminal/webhook_texts": "commands/test_webhooks",
    "service/method_names": "rest/test_explaining",
    "commands/explain_options": "commands/test_explaining",
    # The tests of approvals use their values, and those of their routes read the document.
    "records/approval": "records/test_approvals",
    # The tests of the journal read the plans of its pages.
    "records/newest": "records/test_journal",
    "service/approval_rules": "config/test_approvals",
    "rest/openapi/approval_paths": "rest/test_approval_routes",
    # The tests of the commands read what they print of approvals, and those of summaries what
    # the store knows of an operation.
    "operations/begun": "service/test_beginnings",
    # The tests of deliveries verify what is signed.
    "deliveries/sealed_secrets": "deliveries/test_deliveries",
    # The tests of notices let webhooks stop and begin again.
    "deliveries/backlog": "deliveries/test_notices",
    # The tests of the service read the log of its calls.
    "service/outcomes": "service/test_service",
    # The rules of a backend derive the hints of its methods.
    "descriptors/hints": "service/test_offer_rules",
    # The printer uses the traits of a type.
    "descriptors/traits": "descriptors/test_printing",
    # The tests of reflection check which files are requested.
    "descriptors/received_files": "descriptors/test_reflection",
    # The tests of backends check their calls, and the requests of lists.
    "backends/calls": "backends/test_backend",
    "backends/list_query": "backends/test_backend",
    # The tests of limits check a look-up of all services.
    "descriptors/discovery": "descriptors/test_limits",
    # The tests of the policy check that only these two modules make a caller.
    "mcp/caller": "access/test_policy",
    "rest/caller": "access/test_policy",
    # The tests of the command check the lines that it prints.
    "commands/check_words": "commands/test_check",
    "commands/checking": "commands/test_check",
    # The tests of the program check the options and the failures of serve.
    "commands/gateway_options": "commands/test_cli",
    "commands/store_choice": "commands/test_storing",
    # The tests of the commands about operations check what the commands share.
    "commands/describing": "commands/test_operations",
    "commands/ending": "commands/test_operations",
    "commands/listing": "commands/test_operations",
    "commands/options": "commands/test_operations",
    "commands/serving": "commands/test_cli",
    # `check` probes its own address.
    "commands/probe": "serving/test_handshakes",
    "commands/tailing": "commands/test_operations",
    "commands/waiting": "commands/test_operations",
    "commands/terminal/failures": "commands/test_operations",
    "commands/terminal/names": "commands/test_operations",
    "commands/terminal/private_gateway": "commands/test_operations",
    "commands/terminal/rows": "commands/test_operations",
    "commands/terminal/selection": "commands/test_operations",
    "commands/terminal/table": "commands/test_operations",
    # The tests of the audit open it from the configuration.
    "config/audit": "access/test_audit",
    # The tests of loading check all mistakes of a configuration together.
    "config/models": "config/test_loading",
    "config/values": "config/test_loading",
    # The tests of TLS use all its settings.
    "config/server_tls": "serving/test_tls",
    # The tests of metrics read those of all faces.
    "mcp/measuring": "telemetry/test_metrics",
    # Subscriptions and sessions use the same followers and handlers.
    "mcp/live/followers": "mcp/live/test_subscriptions",
    "mcp/live/handlers": "mcp/live/test_subscriptions",
    # The tests of both faces check the bytes that arrive and those that are answered.
    "backends/response": "faces/test_http_body",
    "descriptors/http_body": "faces/test_http_body",
    # The tests of a catalog check what its operator is told.
    "service/discovered": "service/test_catalog",
    # The tests of starts check where a call goes, and the header that says so.
    "service/routing": "service/test_starting",
    # Every watch polls with this module.
    "service/watch_polls": "service/test_polling",
    # The tests of a document check its components.
    "rest/openapi/components": "rest/openapi/test_method_paths",
    "rest/openapi/mine_path": "rest/openapi/test_document",
    # The tests of an error check its next step.
    "rest/next_steps": "backends/test_status",
    # A real connection has real heads.
    "serving/heads": "serving/test_connection",
    # Only a server can call this function of four lines.
    "rest/disconnection": "serving/test_http",
    # The tests of the two kinds of MCP tasks check these modules together.
    "mcp/tasks/finished": "mcp/tasks/test_extension",
    "mcp/tasks/handlers": "mcp/tasks/test_extension",
    "mcp/tasks/ids": "mcp/tasks/test_extension",
    "mcp/tasks/tasks": "mcp/tasks/test_extension",
    "mcp/wire": "mcp/tasks/test_extension",
    # The tests of the journal check its rows, its queries, and the transactions that share rows.
    "records/archived": "records/test_archive",
    # The tests of stalled work read what agents, monitors and Prometheus are told.
    "operations/stall": "service/test_stalls",
    "records/activity": "service/test_work_health",
    "records/history": "service/test_stalls",
    "records/working": "service/test_stalls",
    "rest/work_health": "service/test_work_health",
    "records/batches": "records/test_journal",
    "records/entries": "records/test_journal",
    "records/statements": "records/test_journal",
    # The tests of what a caller has started use both faces, and interrupt starts.
    "mcp/tools/mine_tool": "service/test_mine",
    "service/journaling": "service/test_mine",
    # The tests of deliveries run all of their parts, on both databases.
    **dict.fromkeys(
        (
            *("deliveries/feed", "deliveries/happenings"),
            *("deliveries/posting", "deliveries/selecting", "deliveries/sending"),
            *("deliveries/subscribing", "records/event_expiry"),
            *("records/event_log", "records/event_records", "records/event_rows"),
            *("records/outbox", "records/replicas", "records/subscriptions"),
        ),
        "deliveries/test_deliveries",
    ),
    "records/event_schema": "records/test_upgrade",
    **dict.fromkeys(
        (
            *("mcp/events/failures", "mcp/events/kinds", "mcp/events/requests"),
            *("mcp/events/status", "mcp/events/streaming"),
        ),
        "mcp/events/test_methods",
    ),
    # The tests of the service call all verbs, and those of starts choose backends.
    "service/changes": "service/test_service",
    "service/choosing": "service/test_starting",
    # Every gateway opens its backends with this module.
    "config/backends": "test_gateway",
    "service/mine_request": "service/test_mine",
    # Each start prepares its request.
    "service/preparing": "service/test_starting",
    # The tests of upgrades compare the tables with what the migrations make.
    "records/migrations/env": "records/test_upgrade",
    **{
        f"records/migrations/versions/{file}": "records/test_upgrade"
        for file in (
            *("v0001_operations", "v0002_idempotency", "v0003_archive", "v0004_approvals"),
            *("v0005_history", "v0006_retention", "v0007_events", "v0008_losses"),
            *("v0009_rates", "v0010_leads", "v0011_versions", "v0012_throttles"),
        )
    },
    # The tests of names open stores of other configurations.
    "records/rates": "service/test_rates",
    "records/leads": "service/test_shared_watches",
    "records/schema": "records/test_upgrade",
    "records/changed_names": "service/test_stored_names",
    # Every call of a tool runs these modules.
    "mcp/failures": "mcp/tools/test_verb_tools",
    "mcp/answers": "mcp/tools/test_verb_tools",
    "mcp/next_steps": "mcp/tools/test_verb_tools",
    "mcp/server": "mcp/tools/test_verb_tools",
    "mcp/tools/elicitation": "faces/test_confirmation",
    "mcp/tools/request_state": "faces/test_confirmation",
    "mcp/tools/toolbox": "mcp/tools/test_method_tools",
}
"""Modules without a test file of their name, and the file that tests each of them."""


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_file_and_its_functions_are_short(module: Path) -> None:
    """A file holds one idea, and a function fits on a screen."""
    source = (PACKAGE / module).read_text()
    functions = {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert source.count("\n") <= MAX_FILE_LINES
    assert {name: lines for name, lines in functions.items() if lines > MAX_FUNCTION_LINES} == {}


def test_the_top_level_of_the_package_has_few_entries() -> None:
    """A reader can take in the list of entries at once, because each is one idea."""
    entries = [path for path in PACKAGE.iterdir() if not path.name.startswith("_")]
    assert len(entries) <= MAX_ENTRIES


def test_a_test_makes_no_event_loop_of_its_own() -> None:
    """A second loop could be closed when its gRPC calls end, and so fail another test."""
    with pytest.raises(RuntimeError, match="on the loop of the whole run"):
        asyncio.Runner().get_loop()


def test_each_module_has_a_test_file_of_its_name() -> None:
    """A reader finds the tests of a module by its name."""
    untested = [
        module.with_suffix("").as_posix()
        for module in MODULES
        if not (TESTS / module.parent / f"test_{module.name}").exists()
    ]
    assert [module for module in untested if module not in TESTED_ELSEWHERE] == []


@pytest.mark.parametrize("test", sorted(set(TESTED_ELSEWHERE.values())))
def test_a_file_that_tests_modules_of_other_names_exists(test: str) -> None:
    """Each exception names a test file that exists."""
    assert (TESTS / f"{test}.py").exists()

"""Calls every HTTP rule of packages of googleapis, each package through a gateway of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
from google.protobuf.descriptor import MethodDescriptor

from tests.contrary import ContraryBackend
from tests.gateways import serving
from tests.googleapis.calls import (
    Binding,
    accepts,
    bindings,
    default_binding,
    http_request,
    is_long_running,
    path_of,
    request_of,
)
from tests.googleapis.published import Api, pool
from tests.stub import Stub

_AT_A_TIME = 4
"""How many gateways run at a time, because each takes 0.1 s to stop."""

Report = dict[tuple[str, str, str], str]
"""What was wrong with the calls of a rule, by the method's path, the verb and the template."""


async def wrong_calls(
    apis: Iterable[Api], wanted: Callable[[MethodDescriptor], bool], directory: Path
) -> tuple[int, Report]:
    """Call every rule of the wanted methods; return the number of calls, and what was wrong."""
    free = asyncio.Semaphore(_AT_A_TIME)
    report: Report = {}

    async def of(api: Api) -> int:
        rules = list(_rules(api, wanted))
        if not rules:
            return 0
        async with free, httpx.AsyncClient(timeout=60) as client:
            descriptors = directory / f"{api.package}.binpb"
            descriptors.write_bytes(api.descriptor_set())
            async with Stub(pool()).open(*api.services) as backend:
                # The files that a package imports may have services that it does not serve.
                offered = [f"{service}/*" for service in api.services]
                settings = {"name": "b", "target": backend.target, "methods": offered}
                async with serving({**settings, "descriptors": [str(descriptors)]}) as url:
                    for method, rule in rules:
                        problem = await _problem(api, method, rule, (client, url, backend))
                        if problem:
                            report[path_of(method), rule.verb, rule.template] = problem
        return len(rules)

    calls = sum(await asyncio.gather(*map(of, apis)))
    return calls, report


def _rules(
    api: Api, wanted: Callable[[MethodDescriptor], bool]
) -> Iterator[tuple[MethodDescriptor, Binding]]:
    """Yield the rules of the wanted methods.

    Some packages have one rule at two methods. Such a rule is left out. Each method is also called
    by its default rule if it starts operations, or if it has no other rule.
    """
    shapes = Counter(rule.shape for method in api.methods for rule in bindings(method))
    for method in filter(wanted, api.methods):
        own = [rule for rule in bindings(method) if shapes[rule.shape] == 1]
        if not own or is_long_running(method):
            own.append(default_binding(method))
        for rule in own:
            yield method, rule


async def _problem(
    api: Api,
    method: MethodDescriptor,
    rule: Binding,
    through: tuple[httpx.AsyncClient, str, ContraryBackend],
) -> str:
    """Call a method by a rule; return what was wrong, or nothing."""
    client, url, backend = through
    sent = request_of(method, rule)
    request = http_request(url, rule, sent, numbers=method.index % 2 == 0)
    backend.calls.clear()
    response = await client.send(request)
    if response.status_code != httpx.codes.OK:
        return f"{request.method} {request.url}: {response.text}"
    [call] = backend.calls
    if call.path != path_of(method):
        return "" if _is_of(api, call.path, request) else f"{request.url} calls {call.path}"
    return "" if call.request == sent else f"sent {sent}, arrived {call.request}"


def _is_of(api: Api, path: str, request: httpx.Request) -> bool:
    """Return whether a rule of the method at `path` accepts the request, too."""
    return any(
        accepts(rule, request)
        for method in api.methods
        if path_of(method) == path
        for rule in bindings(method)
    )


def described(report: Report) -> Any:
    """Return the first problems of a report, for the message of a failed test."""
    return f"{len(report)} rules", dict(list(report.items())[:5])

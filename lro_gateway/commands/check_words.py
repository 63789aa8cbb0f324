"""Writes the result of a check as lines for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lro_gateway.backends.health import Health
from lro_gateway.commands.check import BackendCheck, Check, MethodCheck
from lro_gateway.descriptors.hints import Hints
from lro_gateway.errors import escaped

_HEALTH: Final = {
    Health.SERVING: "serving",
    Health.NOT_SERVING: "not serving",
    Health.UNREACHABLE: "unreachable",
    Health.UNKNOWN: "unknown",
}
_STREAMING: Final = "Streaming RPCs, which the gateway does not offer"
_PLAIN: Final = "Plain RPCs, which the gateway offers if the setting methods matches them"
_MOST: Final = 50
"""The number of RPCs in one list of those that are not offered."""
_HEADING: Final = "bold"
_GOOD: Final = "green"
_BAD: Final = "red"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, and its style in a terminal."""

    text: str = ""
    style: str = ""


def lines(check: Check) -> Iterator[Line]:
    """Yield the lines: backends, store, methods, RPCs not offered, warnings, problems.

    Characters that show nothing are escaped, because the texts of backends are in the lines.
    """
    for line in _lines(check):
        yield Line(escaped(line.text), line.style)


def _lines(check: Check) -> Iterator[Line]:
    yield Line("Backends", _HEADING)
    yield from _backends(check.backends)
    yield Line()
    if check.store:
        yield Line("Store", _HEADING)
        yield Line(f"  {check.store}")
        yield Line()
    several = len(check.backends) > 1
    yield Line("Methods", _HEADING)
    for method in check.methods:
        yield from _method(method, several=several)
    if not check.methods:
        yield Line("  none")
    yield Line()
    for heading, of in ((_STREAMING, "streaming"), (_PLAIN, "plain")):
        rpcs = [
            (each.health.backend, path) for each in check.backends for path in getattr(each, of)
        ]
        yield from _not_offered(heading, rpcs, several=several)
    if check.warnings:
        yield Line("Warnings", _HEADING)
        for warning in check.warnings:
            yield Line(f"  {warning}")
        yield Line()
    if not check.problems:
        yield Line("No problems", _GOOD)
        return
    yield Line(_count(len(check.problems), "problem").capitalize(), _HEADING)
    for problem in check.problems:
        yield Line(f"  {problem}", _BAD)


def _not_offered(heading: str, rpcs: Sequence[tuple[str, str]], *, several: bool) -> Iterator[Line]:
    if not rpcs:
        return
    yield Line(heading, _HEADING)
    for backend, path in rpcs[:_MOST]:
        yield Line(f"  {path}, on {backend}" if several else f"  {path}")
    if len(rpcs) > _MOST:
        yield Line(f"  and {len(rpcs) - _MOST} more")
    yield Line()


def _backends(backends: Sequence[BackendCheck]) -> Iterator[Line]:
    rows = [
        (each.health.backend, each.health.target, _HEALTH[each.health.health]) for each in backends
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for each, row in zip(backends, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        services = _count(len(each.services), "service")
        cells.append(f"{services}, {_count(each.offered, 'method')} offered")
        serves = each.health.health is Health.SERVING
        yield Line("  " + "  ".join(cells), "" if serves else _BAD)
        if each.description:
            yield Line(f"    {each.description}")
        if each.has_token:
            yield Line("    credentials: there is a token for its calls")
        for source in each.messages_only:
            yield Line(f"    {source} has messages and no services, so it brings no methods")


def _method(method: MethodCheck, *, several: bool) -> Iterator[Line]:
    offer = method.offer
    traits = ["long-running" if offer.method.is_long_running else "plain", *_hints(offer.hints)]
    if offer.confirm:
        everywhere = offer.confirm == offer.backends
        traits.append("confirm" if everywhere else f"confirm on {' and '.join(offer.confirm)}")
    if offer.approval:
        everywhere = offer.approval == offer.backends
        traits.append("approval" if everywhere else f"approval on {' and '.join(offer.approval)}")
    where = f", on {' and '.join(offer.backends)}" if several else ""
    yield Line(f"  {offer.name}: {', '.join(traits)}{where}")
    for route in method.routes:
        yield Line(f"    {route.rule.verb} {route.rule.template.text}")
    if not method.routes:
        yield Line("    no HTTP route", _BAD)
    yield Line(f"    {offer.method.path}")


def _hints(hints: Hints) -> Iterator[str]:
    if hints.reads:
        yield "read-only"
        return
    if hints.destroys is not None:
        yield "destructive" if hints.destroys else "additive"
    if hints.idempotent:
        yield "idempotent"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}" if number == 1 else f"{number or 'no'} {noun}s"

"""What was measured, held against the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from scripts.benchmark.following import CPU_TARGET, KILOBYTES_TARGET, LINEAR, Following
from scripts.benchmark.footprint import (
    BACKENDS,
    MEMORY_TARGET_MB,
    START_TARGET_SECONDS,
    Memory,
    Starts,
)
from scripts.benchmark.listing import FIRST_TARGET_SECONDS, Listing
from scripts.benchmark.rates import (
    MOST_RPCS_PER_SECOND,
    Ratio,
    Row,
    RpcCount,
    RpcRate,
    ratios,
    rpc_counts,
    rpc_rates,
)
from scripts.benchmark.settings import Settings
from scripts.benchmark.watching import (
    LAST_READER_TARGET_MS,
    VANISHED_TARGET_SECONDS,
    FanOut,
    Vanishing,
    Watching,
)


@dataclass(frozen=True, slots=True)
class Results:
    """One run."""

    settings: Settings
    rows: list[Row]
    starts: list[Starts]
    memory: Memory | None
    listing: Listing
    watching: Watching
    following: list[Following]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: what was to be reached, what was, and in which spread."""

    measure: str
    to_reach: str
    measured: str
    spread: str
    reached: bool


def verdicts(results: Results) -> list[Verdict]:
    """Hold what was measured against the targets."""
    found = [_of_ratio(ratio) for ratio in ratios(results.rows)]
    found += [_of_rpcs(count) for count in rpc_counts(results.rows)]
    found += [_of_rpc_rate(rate) for rate in rpc_rates(results.rows)]
    found += [_of_starts(starts) for starts in results.starts]
    if results.memory:
        found.append(_of_memory(results.memory))
    found.append(_of_first_list(results.listing))
    found += _of_watching(results.watching)
    return [*found, *_of_following(results.following)]


def _of_ratio(ratio: Ratio) -> Verdict:
    return Verdict(
        f"{ratio.contender.title} / {ratio.other.kind}, requests/s at {ratio.connections}",
        f">= {ratio.contender.target:.2f}",
        f"{ratio.median:.2f}",
        spread(ratio.of_rounds),
        ratio.reached,
    )


def _of_rpcs(count: RpcCount) -> Verdict:
    return Verdict(
        f"{count.contender.title}, RPCs at the backend each",
        "= 1",
        f"{median(count.of_rounds):.2f}",
        spread(count.of_rounds),
        count.reached,
    )


def _of_rpc_rate(rate: RpcRate) -> Verdict:
    return Verdict(
        f"{rate.contender.title}, RPCs/s at the backend at {rate.connections}",
        f"<= {MOST_RPCS_PER_SECOND:g}",
        f"{rate.median:.2f}",
        spread(rate.of_rounds),
        rate.reached,
    )


def _of_starts(starts: Starts) -> Verdict:
    return Verdict(
        f"start to first {starts.protocol.upper()} answer, median of {len(starts.seconds)}",
        f"<= {START_TARGET_SECONDS:g} s",
        f"{starts.median:.2f} s",
        spread(starts.seconds),
        starts.reached,
    )


def _of_memory(memory: Memory) -> Verdict:
    return Verdict(
        f"resident, {BACKENDS} backends, {memory.requests:,} requests",
        f"<= {MEMORY_TARGET_MB:g} MB",
        f"{memory.after:.1f} MB",
        f"{memory.at_first:.1f} to {memory.after:.1f}",
        memory.reached,
    )


def _of_first_list(listing: Listing) -> Verdict:
    return Verdict(
        f"first tools/list of {listing.methods:,} methods, median of {len(listing.first)}",
        f"<= {FIRST_TARGET_SECONDS:g} s",
        f"{median(listing.first):.2f} s",
        spread(listing.first),
        listing.reached,
    )


def _of_watching(watching: Watching) -> Iterator[Verdict]:
    many, ratio = watching.many, watching.rpc_ratio
    yield Verdict(
        f"{many.readers:,} SSE readers of one / 1 reader, RPCs at the backend",
        "= 1.00",
        f"{ratio:.2f}",
        f"{watching.one.rpcs} and {many.rpcs}",
        ratio == 1.0,
    )
    yield _of_last_reader(many)
    if watching.vanishing:
        yield _of_vanishing(watching.vanishing)


def _of_last_reader(many: FanOut) -> Verdict:
    return Verdict(
        f"change to the last of {many.readers:,} SSE readers, p99 of {len(many.delays_ms)}",
        f"<= {LAST_READER_TARGET_MS:g} ms",
        f"{many.p99_ms:.0f} ms",
        spread(many.delays_ms),
        many.p99_ms <= LAST_READER_TARGET_MS,
    )


def _of_vanishing(vanishing: Vanishing) -> Verdict:
    seconds = vanishing.seconds
    return Verdict(
        f"{vanishing.readers:,} SSE readers vanish: watches gone, MB back",
        f"<= {VANISHED_TARGET_SECONDS:g} s",
        "never" if seconds is None else f"{seconds:.2f} s",
        f"{vanishing.before_mb:.0f} to {vanishing.after_mb:.0f} MB",
        vanishing.reached,
    )


def _of_following(following: list[Following]) -> Iterator[Verdict]:
    for each in following:
        cost = f"{each.operations:,} watched every {each.interval:g} s"
        yield Verdict(
            f"{cost}, memory each",
            f"<= {KILOBYTES_TARGET:g} KB",
            f"{each.kilobytes_each:.1f} KB",
            "",
            each.kilobytes_each <= KILOBYTES_TARGET,
        )
        yield Verdict(
            f"{cost}, cores", f"<= {CPU_TARGET:g}", f"{each.cpu:.2f}", "", each.cpu <= CPU_TARGET
        )
    if following:
        yield _of_growth(following[0], following[-1])


def _of_growth(few: Following, many: Following) -> Verdict:
    """Say what each of many costs, over each of few: the dearer of memory and processor time."""
    memory = many.kilobytes_each / few.kilobytes_each
    cpu = (many.cpu / many.operations) / (few.cpu / few.operations)
    return Verdict(
        f"each of {many.operations:,} watched / each of {few.operations:,}, memory and CPU",
        f"<= {LINEAR:g}",
        f"{max(memory, cpu):.2f}",
        f"{memory:.2f} and {cpu:.2f}",
        max(memory, cpu) <= LINEAR,
    )


def spread(values: Sequence[float]) -> str:
    """Return the least and the most of some values."""
    return f"{min(values):.2f} to {max(values):.2f}"

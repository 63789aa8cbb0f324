"""The order of a round."""

from __future__ import annotations

from lro_gateway.backends.rounds import Rounds


def order(rounds: Rounds[str], readers: dict[str, tuple[str, int]]) -> str:
    """Take all items out of the rounds, and return them in their order."""
    taken = ""
    for _ in range(len(readers)):
        item = rounds.next()
        rounds.remove(item, readers[item])
        taken += item
    return taken


def test_turns_go_round_by_caller_then_by_connection_then_by_time() -> None:
    """One caller with many items and connections has every second turn beside another caller."""
    readers = {
        **dict.fromkeys("abc", ("greedy", 1)),
        **dict.fromkeys("def", ("greedy", 2)),
        **dict.fromkeys("xyz", ("modest", 1)),
    }
    rounds: Rounds[str] = Rounds()
    for item, reader in readers.items():
        rounds.add(item, reader)
    assert order(rounds, readers) == "axdybzecf"


def test_the_newest_item_of_a_caller_is_that_of_its_busiest_connection() -> None:
    """It is the item that has waited least."""
    rounds: Rounds[str] = Rounds()
    for item, member in [("a", 1), ("b", 2), ("c", 2), ("d", 1), ("e", 2)]:
        rounds.add(item, ("caller", member))
    assert rounds.newest_of("caller") == "e"

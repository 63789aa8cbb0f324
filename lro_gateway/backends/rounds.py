"""The order of a round: each caller is next in turn, however much another caller wants."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, KeysView
from contextvars import ContextVar
from typing import Final, Generic, TypeVar

from lro_gateway.principal import Reader

_Item = TypeVar("_Item", bound=Hashable)

NOBODY: Final[Reader] = ("", None)
"""The reader of work that belongs to no caller."""

READER: Final[ContextVar[Reader]] = ContextVar("lro_gateway_reader", default=NOBODY)
"""The reader for whom the current code calls a backend. A poll is for one of its readers."""


class Rounds(Generic[_Item]):
    """Items in the order of a round: by address or caller, then by connection, then by time.

    Every change takes constant time, for any number of items.
    """

    def __init__(self) -> None:
        self._groups: OrderedDict[Hashable, OrderedDict[Hashable, OrderedDict[_Item, None]]] = (
            OrderedDict()
        )

    def add(self, item: _Item, reader: Reader) -> None:
        """Add an item under one of its readers."""
        group, member = reader
        members = self._groups.setdefault(group, OrderedDict())
        members.setdefault(member, OrderedDict())[item] = None

    def remove(self, item: _Item, reader: Reader) -> None:
        """Remove an item that was added under this reader."""
        group, member = reader
        members = self._groups[group]
        items = members[member]
        del items[item]
        if not items:
            del members[member]
        if not members:
            del self._groups[group]

    @property
    def groups(self) -> KeysView[Hashable]:
        """The callers or addresses that have items, in the order of the round."""
        return self._groups.keys()

    def next(self) -> _Item:
        """Return the next item, whose reader and address are then the last of the round."""
        return self.next_of(next(iter(self._groups)))

    def next_of(self, group: Hashable) -> _Item:
        """Return the next item of a group, which is then the last of the round."""
        members = self._groups[group]
        member, items = next(iter(members.items()))
        self._groups.move_to_end(group)
        members.move_to_end(member)
        return next(iter(items))

    def newest_of(self, group: Hashable) -> _Item:
        """Return the newest item of a group, of the connection that has the most items."""
        members = self._groups[group]
        longest = max(members, key=lambda member: len(members[member]))
        return next(reversed(members[longest]))

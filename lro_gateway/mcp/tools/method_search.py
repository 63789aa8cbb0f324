"""The search for methods by words, in their names, their services and their comments."""

from __future__ import annotations

import asyncio
import difflib
import logging
import re
import sqlite3
import weakref
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from lro_gateway.background import Slices, Steps
from lro_gateway.descriptors.methods import snake_words
from lro_gateway.errors import Code, status_error
from lro_gateway.service.catalog import Offer

logger: Final = logging.getLogger(__name__)

_WORD: Final = re.compile(r"[^\W_]+")
_MAX_WORDS: Final = 32
"""The words of a query that count. SQLite bounds the depth of an expression."""
_SHORTEST_PREFIX: Final = 3
"""A shorter word of a query must be a whole word of a method, because too many begin with it."""
_LONGEST_COMMENT: Final = 500
_LONGEST_NAME: Final = 128
"""The longest name for which `nearest` looks, because the time grows with the length."""
_MAX_NEAREST: Final = 3
_ALIKE: Final = 0.8
_TABLE: Final = (
    "CREATE VIRTUAL TABLE methods USING"
    " fts5(name, service, comment, pairs, content='', tokenize='porter unicode61')"
)
_INSERT: Final = "INSERT INTO methods (rowid, name, service, comment, pairs) VALUES (?, ?, ?, ?, ?)"
_SEARCH: Final = (
    "SELECT rowid FROM methods WHERE methods MATCH ?"
    " ORDER BY bm25(methods, 8.0, 4.0, 1.0, 4.0), rowid"
)
"""A word in a method's name counts twice as much as one in its service's, and so on."""
_NOT_AVAILABLE: Final = (
    f"search_methods finds no words, because SQLite {sqlite3.sqlite_version} of this Python has no"
    " full-text search (FTS5)"
)


@dataclass(frozen=True, slots=True)
class Found:
    """The names of the methods that a search has found, best first.

    `has_all_words` is False if no method has all words of the query. Then each has some of them.
    """

    names: tuple[str, ...]
    has_all_words: bool = True


class MethodSearch:
    """Finds the methods of one catalog by words. SQLite's full-text search keeps the index.

    The index is made when a caller first searches, and again when the methods have changed. If
    SQLite has no full-text search, the log says so at the start.
    """

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._index: _Index | None = None
        self._making = asyncio.Lock()
        self._is_available = _has_full_text_search()
        if not self._is_available:
            logger.warning("%s; run the gateway with a Python whose SQLite has it", _NOT_AVAILABLE)

    async def find(
        self, query: str, catalog: Mapping[str, Offer], visible: Mapping[str, Offer]
    ) -> Found:
        """Return the visible methods with the words of a query, or all by name if it has none.

        `catalog` has all methods. A word also finds longer words that begin with it, and other
        forms of the word, such as a plural. Raises UNIMPLEMENTED for words if SQLite has no
        full-text search.
        """
        words = _WORD.findall(query)[:_MAX_WORDS]
        if not words:
            return Found(tuple(visible))
        if not self._is_available:
            raise status_error(Code.UNIMPLEMENTED, _NOT_AVAILABLE, "SEARCH_NOT_AVAILABLE")
        async with self._making:
            index = self._index
            if index is None or index.catalog is not catalog:
                index = self._index = _Index(catalog)
                await self._slices.run(index.filling())
        terms = [_term(word) for word in words]
        if found := index.find(" AND ".join(terms), visible):
            return Found(found)
        return Found(index.find(" OR ".join(terms), visible), has_all_words=False)

    async def nearest(self, name: str, names: Iterable[str]) -> tuple[str, ...]:
        """Return up to three of the names that are spelt like a name, the most alike first."""
        if len(name) > _LONGEST_NAME:
            return ()
        return await self._slices.run(_nearest(name.lower(), names))


def _has_full_text_search() -> bool:
    with closing(sqlite3.connect(":memory:")) as database:
        try:
            database.execute(_TABLE)
        except sqlite3.OperationalError:
            return False
    return True


class _Index:
    """The words of all methods of a catalog, in a database in memory."""

    def __init__(self, catalog: Mapping[str, Offer]) -> None:
        self.catalog = catalog
        self._names = tuple(catalog)
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        weakref.finalize(self, self._database.close)
        self._database.execute(_TABLE)

    def filling(self) -> Steps[None]:
        """Return the steps that add the methods."""
        for row, offer in enumerate(self.catalog.values()):
            comments = yield from offer.types.reading_comments()
            yield
            method = offer.method
            service = snake_words(method.service.rpartition(".")[2])
            parts = (
                f"{offer.name} {method.name}",
                " ".join([method.service, *service, *offer.backends]),
                comments.of_name(method.full_name)[:_LONGEST_COMMENT],
                # BigQuery is two words here, but people write it as one.
                " ".join(map("".join, [*pairwise(service), *pairwise(method.words)])),
            )
            self._database.execute(_INSERT, (row, *parts))

    def find(self, expression: str, visible: Mapping[str, Offer]) -> tuple[str, ...]:
        """Return the names of the visible methods that an expression matches, best first."""
        rows = self._database.execute(_SEARCH, (expression,))
        names = (self._names[row] for (row,) in rows)
        return tuple(name for name in names if name in visible)


def _term(word: str) -> str:
    """Return the expression for a word of a query. A word in CamelCase may be several words."""
    parts = snake_words(word)
    whole = _prefix(word)
    return f"({whole} OR ({' AND '.join(map(_prefix, parts))}))" if len(parts) > 1 else whole


def _prefix(word: str) -> str:
    return f'"{word}"*' if len(word) >= _SHORTEST_PREFIX else f'"{word}"'


def _nearest(name: str, names: Iterable[str]) -> Steps[tuple[str, ...]]:
    """Return the steps of `difflib.get_close_matches`, which would take long for many names."""
    matcher = difflib.SequenceMatcher(b=name)
    alike: list[tuple[float, str]] = []
    for each in names:
        yield
        matcher.set_seq1(each)
        if (
            matcher.real_quick_ratio() >= _ALIKE
            and matcher.quick_ratio() >= _ALIKE
            and (ratio := matcher.ratio()) >= _ALIKE
        ):
            alike.append((-ratio, each))
    return tuple(each for _, each in sorted(alike)[:_MAX_NEAREST])

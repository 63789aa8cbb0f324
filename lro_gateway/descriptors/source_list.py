"""The sources of one backend. Each completes what the files of another source lack."""

from __future__ import annotations

import asyncio
import logging
import posixpath
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from lro_gateway.background import Slices, Steps
from lro_gateway.descriptors.declarations import resolve
from lro_gateway.descriptors.descriptor_file import DescriptorFile
from lro_gateway.descriptors.extensions import ExtensionNumber, Missing
from lro_gateway.descriptors.sources import (
    COMMON_PROTOS,
    ComparableSource,
    DescriptorSource,
    SourceError,
    SourceUnavailableError,
)
from lro_gateway.descriptors.type_set import Clock, TypeSet
from lro_gateway.errors import quote

logger: Final = logging.getLogger(__name__)

NOT_FOUND_FOR: Final = 60.0
"""Seconds for which a type that no source knows is not looked up again."""
FAILED_FOR: Final = 5.0
"""Seconds for which a type is not looked up again after a source failed."""
_MAX_LOOK_UPS: Final = 8
"""The maximum number of look-ups at a time."""

Files = Sequence[DescriptorFile]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def each_of(
    items: Iterable[_Item], look_up: Callable[[_Item], Awaitable[_Result]]
) -> list[_Result]:
    """Look up items, a few at a time, and return the results in the order of the items."""
    slots = asyncio.Semaphore(_MAX_LOOK_UPS)

    async def one(item: _Item) -> _Result:
        async with slots:
            return await look_up(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]


def unexpected_failure(what: str, error: Exception) -> SourceError:
    """Log an exception that no source should raise, and return the failure of a look-up for it.

    An answer of one backend that the gateway did not foresee must not end other look-ups.
    """
    logger.error("the look-up of %s failed", quote(what), exc_info=error)
    text = f"the look-up of {quote(what)} failed; the log has the reason"
    return SourceError(text, is_transient=True)


class SourceList:
    """The configured sources of a backend in their order, and googleapis-common-protos last."""

    def __init__(self, sources: Sequence[DescriptorSource], clock: Clock, slices: Slices) -> None:
        self._slices = slices
        self.configured = tuple(sources)
        self._all: tuple[DescriptorSource, ...] = (*sources, COMMON_PROTOS)
        self._clock = clock
        self._unavailable: dict[DescriptorSource, tuple[SourceUnavailableError, float]] = {}
        self._checked: set[DescriptorFile] = set()
        self.lacks_files = False
        """Whether a look-up of an import failed since `forget`, and may succeed later."""

    def __iter__(self) -> Iterator[DescriptorSource]:
        return iter(self._all)

    async def are_unchanged(self) -> bool:
        """Return whether all look-ups since `forget` would find the same again."""
        for source in self._all:
            if not (isinstance(source, ComparableSource) and await source.is_unchanged()):
                return False
        return True

    def forget(self) -> None:
        """Forget what earlier look-ups found, so that later look-ups find what is true then."""
        self._checked.clear()
        self.lacks_files = False
        for source in self._all:
            source.forget()

    async def find(self, source: DescriptorSource, wanted: Missing, types: TypeSet) -> Files:
        """Look something up at one source, and look up what its files lack at all sources.

        Raises `SourceError` if the source failed, and `SourceUnavailableError` at once if the
        source was unavailable within the last `FAILED_FOR` seconds.
        """
        if isinstance(wanted, ExtensionNumber):
            found = await self._ask(source, lambda: source.find_extension(*wanted))
        else:
            found = await self._ask(source, lambda: source.find(wanted))
        return await self._completed(source, found, types)

    async def _completed(self, source: DescriptorSource, found: Files, types: TypeSet) -> Files:
        """Return files together with the imports and types that they lack, if a source has them."""
        files = [*found]
        # The source itself comes first, because it knows if its look-up failed for a moment.
        sources = [source, *(each for each in self._all if each is not source)]
        looked_up: set[str] = set()
        while names := self._missing_imports(files, types) - looked_up:
            await self._slices.pause()
            looked_up |= names
            look_ups = await each_of(sorted(names), lambda name: self._import(sources, name))
            files = [*(file for look_up in look_ups for file in look_up), *files]
        while names := await self._slices.run(self._missing_types(files, types)) - looked_up:
            looked_up |= names
            look_ups = await each_of(sorted(names), lambda name: self._type(sources, name))
            files = [*(file for look_up in look_ups for file in look_up), *files]
        self._checked.update(files)
        return files

    def _missing_imports(self, files: Files, types: TypeSet) -> set[str]:
        names = {file.name for file in files}
        return {
            name
            for file in files
            if file not in self._checked
            for name in file.imports
            if name not in names and not types.has_file(name)
        }

    def _missing_types(self, files: Files, types: TypeSet) -> Steps[set[str]]:
        unchecked = [file for file in files if file not in self._checked]
        missing: set[str] = set()
        if not unchecked:
            return missing
        own: set[str] = set()
        for file in files:
            yield
            own.update(file.symbols)
        for file in unchecked:
            for scope, written in (yield from file.references()):
                yield
                if resolve(written, scope, lambda name: name in own or types.defines(name)) is None:
                    missing.add(written.removeprefix("."))
        return missing

    async def _import(self, sources: Iterable[DescriptorSource], name: str) -> Files:
        """Look up a file by the name in an import, which may not be in the usual form."""
        plain = posixpath.normpath(name.replace("\\", "/"))
        return await self._first(sources, lambda source: source.find_file(plain))

    async def _type(self, sources: Iterable[DescriptorSource], name: str) -> Files:
        return await self._first(sources, lambda each: each.find(name))

    async def _first(
        self,
        sources: Iterable[DescriptorSource],
        look_up: Callable[[DescriptorSource], Awaitable[Files]],
    ) -> Files:
        """Return what the first source finds that finds anything."""
        for source in sources:
            try:
                if found := await self._ask(source, partial(look_up, source)):
                    return found
            except SourceError as error:
                self.lacks_files = self.lacks_files or error.is_transient
                logger.info("%s: %s", quote(source.label), error)
        return ()

    async def _ask(
        self, source: DescriptorSource, look_up: Callable[[], Awaitable[Files]]
    ) -> Files:
        error, until = self._unavailable.get(source, (None, 0.0))
        if error is not None and until > self._clock():
            raise SourceUnavailableError(str(error), is_transient=error.is_transient)
        try:
            return await look_up()
        except SourceUnavailableError as error:
            self._unavailable[source] = (error, self._clock() + FAILED_FOR)
            raise
        except SourceError:
            raise
        except Exception as error:  # noqa: BLE001 - unexpected_failure logs it
            raise unexpected_failure(source.label, error) from None

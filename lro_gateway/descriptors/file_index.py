"""An index of files of descriptors, by their names and by the names that they declare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.background import Steps, completed
from lro_gateway.descriptors.declarations import references, resolve
from lro_gateway.descriptors.descriptor_file import DescriptorFile


class FileIndex:
    """Files by name, and by the messages, enums, services and extensions that they declare.

    Several files may have one name, for example because two descriptor sets were concatenated. If
    several files declare one symbol, the first of them counts. Bytes in a name that are not UTF-8
    are replaced. Files may be added between the steps of a search.
    """

    def __init__(self, files: Iterable[FileDescriptorProto] = ()) -> None:
        self._files: list[DescriptorFile] = []
        self._by_name: dict[str, list[int]] = {}
        self._by_symbol: dict[str, int] = {}
        self._extensions: dict[tuple[str, int], int] | None = None
        self._needs: dict[int, tuple[int, ...]] = {}
        for file in files:
            self.add(file)

    def add(self, file: FileDescriptorProto, *, name: str = "") -> None:
        """Add a file under its name, and under a further name if one is given."""
        completed(self.adding(file, name=name))

    def adding(self, file: FileDescriptorProto, *, name: str = "") -> Steps[DescriptorFile]:
        """Return the steps of `add`, and the file in the form in which the index keeps it."""
        made = yield from DescriptorFile.reading(file)
        for each in dict.fromkeys((made.name, name or made.name)):
            same_name = self._by_name.setdefault(each, [])
            if not any(self._files[at] == made for at in same_name):
                same_name.append(self._added(made))
        return made

    def _added(self, file: DescriptorFile) -> int:
        at = len(self._files)
        self._files.append(file)
        for symbol in file.symbols:
            self._by_symbol.setdefault(symbol, at)
        self._extensions = None
        self._needs.clear()
        return at

    def __contains__(self, symbol: str) -> bool:
        """Return whether a file declares a symbol."""
        return symbol in self._by_symbol

    def has_file(self, name: str) -> bool:
        """Return whether the index has a file of this name."""
        return name in self._by_name

    def find(self, symbol: str) -> list[DescriptorFile]:
        """Return the files that the file of a symbol needs, and last that file itself.

        The list is empty if the symbol is unknown. A file needs the files that it imports, and also
        the files of the types to which it refers without an import. Files that are not in the index
        are left out.
        """
        return completed(self.finding(symbol))

    def finding(self, symbol: str) -> Steps[list[DescriptorFile]]:
        """Return the steps of `find`."""
        at = self._by_symbol.get(symbol)
        return self._with_needed([] if at is None else [at])

    def find_file(self, name: str) -> list[DescriptorFile]:
        """Return the files that the files of this name need, and then these files."""
        return completed(self.finding_file(name))

    def finding_file(self, name: str) -> Steps[list[DescriptorFile]]:
        """Return the steps of `find_file`."""
        return self._with_needed(self._by_name.get(name, []))

    def find_extension(self, extended: str, number: int) -> list[DescriptorFile]:
        """Return the files that the file of an extension needs, and last that file itself."""
        return completed(self.finding_extension(extended, number))

    def finding_extension(self, extended: str, number: int) -> Steps[list[DescriptorFile]]:
        """Return the steps of `find_extension`."""
        at = (yield from self._all_extensions()).get((extended, number))
        return (yield from self._with_needed([] if at is None else [at]))

    def services(self) -> list[str]:
        """Return the full names of the services in the files."""
        return list(dict.fromkeys(name for file in self._files for name in file.services))

    def _all_extensions(self) -> Steps[dict[tuple[str, int], int]]:
        if self._extensions is not None:
            return self._extensions
        found: dict[tuple[str, int], int] = {}
        number_of_files = len(self._files)
        for at, file in enumerate(self._files):
            yield
            for each in references(file.parsed):
                if each.attribute == "extendee":
                    extended = each.resolve(self.__contains__) or each.written.removeprefix(".")
                    found[extended, each.holder.number] = at  # type: ignore[union-attr]  # a field
        if len(self._files) == number_of_files:
            self._extensions = found
        return found

    def _with_needed(self, wanted: Sequence[int]) -> Steps[list[DescriptorFile]]:
        ordered: dict[int, None] = {}
        opened: set[int] = set()
        # A list serves as the stack, because a chain of imports may be longer than Python's stack.
        pending = [(at, False) for at in reversed(wanted)]
        while pending:
            yield
            current, needed_done = pending.pop()
            if needed_done:
                ordered.setdefault(current)
            elif current not in opened:
                opened.add(current)
                pending.append((current, True))
                needed = yield from self._needed(current)
                pending.extend((each, False) for each in needed)
        return [self._files[at] for at in ordered]

    def _needed(self, at: int) -> Steps[tuple[int, ...]]:
        known = self._needs.get(at)
        if known is None:
            needs: dict[int, None] = {}
            number_of_files = len(self._files)
            for name in self._files[at].imports:
                needs.update(dict.fromkeys(self._by_name.get(name, ())))
            for scope, written in (yield from self._files[at].references()):
                yield
                if (symbol := resolve(written, scope, self.__contains__)) is not None:
                    needs.setdefault(self._by_symbol[symbol])
            known = tuple(needs)
            # A file that was added meanwhile may declare what this file needs.
            if len(self._files) == number_of_files:
                self._needs[at] = known
        return known

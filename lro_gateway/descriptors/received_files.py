"""The files that a server has sent in its answers to requests of reflection."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.background import Steps
from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.declarations import is_placeholder
from lro_gateway.descriptors.descriptor_file import DescriptorFile
from lro_gateway.descriptors.file_index import FileIndex
from lro_gateway.descriptors.sources import SourceError

_WELL_KNOWN: Final = frozenset(file.name for file in well_known.FILES)


@dataclass(slots=True)
class Received:
    """The received files, the names of files that the server does not have, and a lock by name.

    `failed` has the errors of requests for files that may succeed later. Such a file counts as
    missing, because some servers answer with INTERNAL for a file that they do not have. `number`
    and `size` count the files and their bytes. `answers` has a digest of each answer, by its
    request.
    """

    index: FileIndex = field(default_factory=FileIndex)
    missing: set[str] = field(default_factory=set)
    failed: dict[str, SourceError] = field(default_factory=dict)
    locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    number: int = 0
    size: int = 0
    answers: dict[bytes, bytes] = field(default_factory=dict)

    def adding(
        self, files: Sequence[FileDescriptorProto], name: str = ""
    ) -> Steps[list[DescriptorFile]]:
        """Add the files of an answer to a request for the file `name`, if one was requested.

        Return the added files without those that declare nothing.
        """
        files = [file for file in files if not is_placeholder(file)]
        added = []
        for file in files:
            kept = yield from self.index.adding(file)
            added.append(kept)
        if name and not self.index.has_file(name):
            if files:
                # The server has the file under another name, such as ./a.proto for a.proto.
                yield from self.index.adding(files[0], name=name)
            else:
                self.missing.add(name)
        return added

    def unknown_imports(self, files: Iterable[DescriptorFile]) -> set[str]:
        """Return the names of imports that were not requested yet."""
        imports = {name for file in files for name in file.imports}
        known = self.missing | _WELL_KNOWN
        return {name for name in imports - known if not self.index.has_file(name)}

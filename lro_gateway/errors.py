"""The exception for a failed call, which has a google.rpc.Status, and the table of status codes.

A failed *call* raises a `StatusError`. A failed *operation* raises nothing, because it is data.

    StatusError                     made by the gateway; always has an ErrorInfo (AIP-193)
    +-- BackendStatusError          made by a backend, and passed on unchanged (`operation.py`)
    +-- UnansweredError             of a method's call that got no answer (`unanswered.py`)
    +-- UnshownError                of a call that succeeded, without its answer (`unshown.py`)
"""

from __future__ import annotations

import enum
import logging
import os
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from lro_gateway.log_context import REQUEST_ID

logger: Final = logging.getLogger(__name__)

_ELLIPSIS: Final = "..."
_LONGEST_WORD: Final = 20
"""A longer word at the limit of a text, such as a name, is cut and not left out."""

_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""The characters that show nothing although `str.isprintable` is true for them.

They are variation selectors, fillers, and the other such characters of Unicode's property
Default_Ignorable_Code_Point, and the empty Braille pattern. A text can be hidden in them.
"""
_DOUBLE_QUOTES: Final = str.maketrans(
    dict.fromkeys('"\u201c\u201d\u201e\u201f\u301d\u301e\u301f\uff02', "'")
)
_SIMPLE_NAME: Final = re.compile(r"[A-Za-z0-9_.~/:@%+=,*{}-]{1,200}\Z")
_BROKEN_ESCAPE: Final = re.compile(r"\\+[xuU]?[0-9a-fA-F]{0,8}\Z")
"""Matches what may be the beginning of an escape at the end of a cut text."""
_LONGEST_ESCAPE: Final = 10
_MAX_MESSAGE: Final = 4096
_MAX_PART: Final = 1024
_MAX_PARTS: Final = 32
_MAX_VIOLATIONS: Final = 10
"""The numbers of bytes of texts, of metadata, and of field violations in an error of the gateway.

A request may be large, and its error must not send all of it back.
"""
_WHOLE: Final = "operation"
"""The metadata with the name of an operation that has begun. The caller needs the whole name."""
_READ: Final = 4
"""`plain` reads this many times as many characters as it may return."""

DOMAIN: Final = "lro-gateway"
"""The `domain` of every ErrorInfo that the gateway makes."""

JSON = dict[str, Any]
"""A JSON object in ProtoJSON."""


class Code(enum.IntEnum):
    """The codes of google.rpc.Code, with their numbers in protobuf messages."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def http_status(self) -> int:
        """The HTTP status that google/rpc/code.proto maps this code to."""
        return _HTTP_STATUS[self]

    @classmethod
    def of(cls, number: int) -> Code:
        """Return the code with this number, or UNKNOWN if google.rpc.Code has no such number."""
        try:
            return cls(number)
        except ValueError:
            return cls.UNKNOWN


_HTTP_STATUS: Final = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    # code.proto maps this to 400, because 412 is for requests with a precondition in a header.
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


_NAMES: Final = {code.value: code.name for code in Code}


def code_name(number: int) -> str:
    """Return the name of a code, or `CODE_<number>` if google.rpc.Code has no such number."""
    return _NAMES.get(number) or f"CODE_{number}"


class StatusError(Exception):
    """A failed call, with its google.rpc.Status.

    The gateway made the error, unless `is_backends` is true. Then a backend made it, so its message
    and its details may hold any text. `backend` is the name of the backend to which the call
    belongs, or None if it belongs to no backend. `unsent` is true if the backend certainly did not
    receive the call.
    """

    unsent: bool = False
    is_backends: bool = False

    def __init__(self, status: status_pb2.Status, *, backend: str | None = None) -> None:
        """Keep the given status without copying it."""
        super().__init__(status.message)
        self.status = status
        self.backend = backend

    @property
    def code(self) -> Code:
        """The code of the status, or UNKNOWN if google.rpc.Code has no code with its number."""
        return Code.of(self.status.code)

    @property
    def message(self) -> str:
        """The error text, which is written for developers (AIP-193)."""
        return str(self.status.message)

    @property
    def reason(self) -> str | None:
        """The reason of the first ErrorInfo, if there is one."""
        return str(self.info.reason) if self.info is not None else None

    @property
    def info(self) -> error_details_pb2.ErrorInfo | None:
        """The first ErrorInfo, if there is one.

        Its domain is `DOMAIN` if the gateway made it. A backend may send this domain too.
        """
        for detail in self.status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                try:
                    return error_details_pb2.ErrorInfo.FromString(detail.value)
                except DecodeError:
                    # A backend may send bytes under this type URL that are not an ErrorInfo.
                    continue
        return None

    def details_json(self) -> list[JSON]:
        """Return the details as ProtoJSON, each with its `@type`."""
        return [json_format.MessageToDict(detail) for detail in self.status.details]

    def __str__(self) -> str:
        """Return the code's name and the error text."""
        return f"{code_name(self.status.code)}: {self.message}"


def status_error(
    code: Code,
    message: str,
    reason: str,
    *,
    metadata: Mapping[str, str] | None = None,
    details: Iterable[Message] = (),
    backend: str | None = None,
) -> StatusError:
    """Return an error of the gateway's own, whose first detail is an ErrorInfo (AIP-193).

    `reason` is in UPPER_SNAKE_CASE. The variable parts of `message` belong in `metadata` too. Long
    texts are cut, except the name of an operation that has begun, in `metadata["operation"]`.
    """
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    for key, value in islice((metadata or {}).items(), _MAX_PARTS):
        info.metadata[bounded(key)] = _utf8(value) if key == _WHOLE else bounded(value)
    if backend is not None:
        info.metadata["backend"] = _utf8(backend)
    status = status_pb2.Status(code=code, message=bounded(message, _MAX_MESSAGE))
    for detail in (info, *details):
        status.details.add().Pack(detail)
    return StatusError(status, backend=backend)


def invalid_argument(
    field: str, problem: str, reason: str = "INVALID_FIELD", **metadata: str
) -> StatusError:
    """Return an INVALID_ARGUMENT error with a BadRequest detail for the field (AIP-193)."""
    return status_error(
        Code.INVALID_ARGUMENT,
        sentence(field, problem),
        reason,
        metadata={"field": field, **metadata},
        details=[bad_request([(field, problem)])],
    )


def sentence(field: str, problem: str) -> str:
    """Return the text for a field and its problem. The path of a field in it is cut."""
    return f"{bounded(field)}: {problem}" if field else problem


def bad_request(problems: Sequence[tuple[str, str]]) -> error_details_pb2.BadRequest:
    """Return the detail with the first fields and their problems, whose long texts are cut."""
    violation = error_details_pb2.BadRequest.FieldViolation
    first = problems[:_MAX_VIOLATIONS]
    limit = min(_MAX_PART, _MAX_MESSAGE // (2 * max(len(first), 1)))
    return error_details_pb2.BadRequest(
        field_violations=[
            violation(field=bounded(field, limit), description=bounded(problem, limit))
            for field, problem in first
        ]
    )


def internal_error() -> StatusError:
    """Return the error for a fault of the gateway. The error does not tell the caller the cause.

    A RequestInfo has the id of the HTTP request, by which the lines of the log can be found.
    """
    request_id = REQUEST_ID.get()
    details = [error_details_pb2.RequestInfo(request_id=request_id)] if request_id else []
    text = "the gateway failed; its log has the reason"
    return status_error(Code.INTERNAL, text, "INTERNAL", details=details)


def unreached(error: Exception) -> str:
    """Return why a connection failed, in the words of the system where HTTP's library has none."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno:
        # The text of asyncio for a refused connection does not say that it was refused.
        refused = os.strerror(cause.errno) if cause.errno > 0 else cause.strerror
        return refused or str(error)
    return str(error) or type(error).__name__


def unexpected_error(work: str, error: Exception) -> StatusError:
    """Log an unexpected exception, and return the INTERNAL error that the caller gets instead.

    `work` names the failed work in the log, such as `the watch of databases/x/operations/1`.
    """
    logger.error("%s failed", work, exc_info=error)
    return internal_error()


def _utf8(text: str) -> str:
    """Escape lone surrogates, because JSON may contain them but a protobuf string may not."""
    return text.encode("utf-8", "backslashreplace").decode()


def bounded(text: str, limit: int = _MAX_PART) -> str:
    """Return a text of at most `limit` bytes in UTF-8, not cut in the middle of an escape."""
    kept = _utf8(text[: limit + 1])
    if len(kept) <= limit and (kept.isascii() or len(kept.encode()) <= limit):
        return kept
    kept = kept.encode()[: limit - len(_ELLIPSIS)].decode(errors="ignore")
    # The text that is left is too long by design, so that `cut` looks for the end of a word.
    kept = cut(kept + _ELLIPSIS * 2, len(kept) + len(_ELLIPSIS)).removesuffix(_ELLIPSIS)
    start = max(len(kept) - _LONGEST_ESCAPE, 0)
    if (broken := _BROKEN_ESCAPE.search(kept, start)) is not None:
        kept = kept[: broken.start()]
    return kept + _ELLIPSIS


def quote(text: str, limit: int = 120) -> str:
    """Quote a text in ASCII on one line. A text of more than `limit` characters is cut."""
    return ascii(text if len(text) <= limit else text[:limit] + _ELLIPSIS)


def escaped(text: str) -> str:
    """Escape all characters that show nothing, such as line breaks, and keep all other ones."""
    if text.isprintable() and (text.isascii() or not _BLANK.search(text)):
        return text
    return "".join(each if _shows(each) else ascii(each)[1:-1] for each in text)


def plain(text: str, limit: int = 300) -> str:
    """Return a text as one line of at most `limit` characters, each of which shows something.

    All white space becomes one blank. Characters that show nothing are left out: controls, marks of
    the text's direction, joiners, tags, variation selectors and fillers. They could change how the
    text around them looks, or hide words from a person that a model reads.
    """
    read = text[: _READ * limit]
    line = " ".join(read.split())
    if not line.isascii() or not line.isprintable():
        line = " ".join("".join(filter(_shows, line)).split())
    return cut(line + _ELLIPSIS if len(read) < len(text) else line, limit)


def quoted_text(text: str, limit: int = 300) -> str:
    """Return a text of a backend as it stands in a sentence of the gateway: plain, and in quotes.

    The text cannot end the quotes, because its own double quotes become single ones.
    """
    return f'"{plain(text, limit).translate(_DOUBLE_QUOTES)}"'


def shown_name(name: str) -> str:
    """Return a backend's name for something. A name that could be read as words is in quotes."""
    return name if _SIMPLE_NAME.match(name) else quoted_text(name, 200)


def says(text: str, limit: int = 300) -> str:
    """Return the sentence that quotes a backend's text, or an empty text if nothing of it shows."""
    quoted = quoted_text(text, limit)
    if quoted == '""':
        return ""
    return f"The service says: {quoted}{'' if quoted[-2] in '.!?' else '.'}"


def _shows(character: str) -> bool:
    return character.isprintable() and not _BLANK.match(character)


def cut(text: str, limit: int, longest_word: int = _LONGEST_WORD) -> str:
    """Cut a text to at most `limit` characters, at the end of a word.

    Only a word of more than `longest_word` characters is cut itself.
    """
    if len(text) <= limit:
        return text
    kept = text[: limit - len(_ELLIPSIS) + 1]
    end = kept.rfind(" ")
    kept = kept[:end] if end > max(len(kept) - 1 - longest_word, 0) else kept[:-1]
    return kept.rstrip() + _ELLIPSIS

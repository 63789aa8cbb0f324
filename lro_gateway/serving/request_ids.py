"""The id of each HTTP request, in the header `X-Request-Id` of its answer and in its log lines."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from lro_gateway.log_context import REQUEST_ID

HEADER: Final = "x-request-id"

NAME: Final = HEADER.encode()
_SANE: Final = re.compile(rb"[!-~]{1,128}")
"""The ids of callers that the gateway takes: visible ASCII of at most 128 characters."""


_PROCESS: Final = secrets.token_hex(8)
_numbers: Final = count()


def new_request_id() -> str:
    """Return an id for a request whose caller gave none.

    It has the process and the number of the request. Random bytes for each request would take
    longer than the rest of the work for an id.
    """
    return f"{_PROCESS}{next(_numbers):016x}"


@contextmanager
def logging_as(request_id: str) -> Iterator[None]:
    """Give this id to the lines that are logged inside the context."""
    token = REQUEST_ID.set(request_id)
    try:
        yield
    finally:
        REQUEST_ID.reset(token)


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the id that the caller has sent in the headers if it is sane, or else a new one."""
    given = [value for name, value in headers if name == NAME]
    # Several ids could be meant for several programs, so none of them is taken.
    is_sane = len(given) == 1 and _SANE.fullmatch(given[0])
    return given[0].decode() if is_sane else new_request_id()

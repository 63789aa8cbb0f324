"""Targets of sealed texts that clients send back: page tokens and the ids of tasks."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from lro_gateway.access.sealing import Sealer, UnsealError
from lro_gateway.errors import StatusError
from lro_gateway.mcp.answers import TaskKey
from lro_gateway.mcp.tasks.ids import TaskIds
from lro_gateway.principal import ANONYMOUS, Principal
from lro_gateway.service.verb_requests import parse_list, parse_wait
from scripts.fuzzing.checks import check, text_of

_KEY: Final = bytes(range(32))
_OTHERS: Final = Principal("somebody", "https://example.com")
_LONGEST: Final = 16


def page_tokens(data: bytes) -> None:
    """Unseal a text, and seal a content. Only the sealed token has a content.

    No token is valid for another purpose, for another owner, or with a changed character.
    """
    sealer = Sealer(_KEY)
    text = text_of(data)
    with suppress(UnsealError):
        check(sealer.seal(sealer.unseal(text, "p"), "p") == text, "a content has one token")
    token = sealer.seal(data, "p", ["owner", text])
    check(sealer.unseal(token, "p", ["owner", text]) == data, "a token holds its content")
    at = len(data) % len(token)
    forged = (
        (token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :], "p", ["owner", text]),
        (token, "q", ["owner", text]),
        (token, "p", ["owner" + text]),
        (token + "=", "p", ["owner", text]),
    )
    for changed, purpose, context in forged:
        try:
            sealer.unseal(changed, purpose, context)
        except UnsealError:
            continue
        check(holds=False, invariant="a changed token is refused")
    for parse in (parse_list, parse_wait):
        with suppress(StatusError):
            parse({"name": text, "pageToken": text, "timeout": text, "pageSize": text})


def task_ids(data: bytes) -> None:
    """Read a text as the id of a task, and make the id of a task from lines of text."""
    ids = TaskIds(Sealer(_KEY))
    text = text_of(data)
    with suppress(UnsealError):
        key = ids.unseal(ANONYMOUS, text)
        check(ids.seal(ANONYMOUS, key) == text, "a task has one id")
    source, tool, *reference = [*data.decode("utf-8", "replace").split("\n", _LONGEST), ""]
    key = TaskKey(source, tool, tuple(reference))
    task_id = ids.seal(ANONYMOUS, key)
    check(ids.unseal(ANONYMOUS, task_id) == key, "an id holds its task")
    try:
        ids.unseal(_OTHERS, task_id)
    except UnsealError:
        return
    check(holds=False, invariant="another caller's id is refused")

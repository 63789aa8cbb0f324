"""Chapter 4: cancel an operation, or delete it.

To cancel is to ask: the call succeeds at once, and the operation ends when the service gets to it,
with an error of code 1. It may also succeed, if the work was all but done.

To delete is to forget an operation and its result. It does not stop the work.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lro_gateway.demo.pace import Gate
from tests.demo.client import Client as Owner
from tests.gateways import Face, RefusedError


async def test_a_cancelled_operation_ends_with_code_1(
    owner: Owner, gate: Gate, rest: Face, tmp_path: Path
) -> None:
    """Cancelling answers with nothing; how it ends is learnt by waiting."""
    async with gate:
        started = await owner.begin("orders")
        assert await rest.cancel(started.name) == {}

        operation = await rest.wait(started.name)

    assert operation["done"] is True
    assert operation["error"]["code"] == 1
    assert not (tmp_path / "orders.sqlite3").exists()


async def test_cancelling_what_is_done_changes_nothing(owner: Owner, rest: Face) -> None:
    """It is too late, and that is no error."""
    created = await owner.create("orders")
    before = await rest.get(created.name)

    await rest.cancel(created.name)

    assert await rest.get(created.name) == before


async def test_a_deleted_operation_is_forgotten(owner: Owner, rest: Face, tmp_path: Path) -> None:
    """Its name is not known any more; what it made stays."""
    created = await owner.create("orders")
    assert await rest.delete(created.name) == {}

    with pytest.raises(RefusedError, match="NOT_FOUND"):
        await rest.get(created.name)

    assert (tmp_path / "orders.sqlite3").exists()

"""Chapter 4: cancel an operation, or delete it.

A cancel is a request to the service. The call succeeds at once, and the operation ends a little
later with an error of code 1 (CANCELLED). If the work was almost finished, the operation may still
succeed.

A delete removes the record of an operation and its result. It does not stop the work.
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
    """The answer to a cancel is empty, so the caller waits to see how the operation ends."""
    async with gate:
        started = await owner.begin("orders")
        assert await rest.cancel(started.name) == {}

        operation = await rest.wait(started.name)

    assert operation["done"] is True
    assert operation["error"]["code"] == 1
    assert not (tmp_path / "orders.sqlite3").exists()


async def test_cancelling_an_operation_that_is_done_changes_nothing(
    owner: Owner, rest: Face
) -> None:
    """The call succeeds although it is too late to cancel."""
    created = await owner.create("orders")
    before = await rest.get(created.name)

    await rest.cancel(created.name)

    assert await rest.get(created.name) == before


async def test_a_deleted_operation_is_not_found(owner: Owner, rest: Face, tmp_path: Path) -> None:
    """The service has no operation of this name any more, and keeps the database that it made."""
    created = await owner.create("orders")
    assert await rest.delete(created.name) == {}

    with pytest.raises(RefusedError, match="NOT_FOUND"):
        await rest.get(created.name)

    assert (tmp_path / "orders.sqlite3").exists()

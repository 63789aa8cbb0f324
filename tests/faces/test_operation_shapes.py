"""Every shape of Operation comes out of every face the same, whatever the descriptors' source."""

from __future__ import annotations

import pytest
from google.longrunning import operations_pb2

from tests.contrary import ContraryBackend, answering
from tests.gateways import FACES, FaceName, face, serving


@pytest.mark.parametrize("kind", FACES)
async def test_an_operation_done_with_neither_error_nor_response_is_just_done(
    kind: FaceName,
) -> None:
    """`done` with an empty union is legal, and is printed as it is."""
    operation = operations_pb2.Operation(name="jobs/1", done=True)
    async with (
        ContraryBackend.open({"GetOperation": answering(operation)}) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        face(kind, url) as client,
    ):
        assert await client.get("jobs/1") == {"name": "jobs/1", "done": True}

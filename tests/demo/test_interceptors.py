"""The demo server counts every call."""

from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client, refusal


async def test_calls_are_counted_by_method(server: DemoServer, client: Client) -> None:
    """Refused calls are counted too."""
    operation = await client.create()
    for _ in range(3):
        await client.get(operation)
    await refusal(client.begin())

    assert server.rpc_counts == {
        "/lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase": 2,
        "/google.longrunning.Operations/WaitOperation": 1,
        "/google.longrunning.Operations/GetOperation": 3,
    }

"""Every call is counted."""

from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client, refusal


async def test_calls_are_counted_by_method(server: DemoServer, client: Client) -> None:
    """Every call counts, refused ones too."""
    operation = await client.create()
    for _ in range(3):
        await client.get(operation)
    await refusal(client.begin())

    assert server.rpc_counts == {
        "/lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase": 2,
        "/google.longrunning.Operations/WaitOperation": 1,
        "/google.longrunning.Operations/GetOperation": 3,
    }

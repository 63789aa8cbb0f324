"""A gateway as it is opened: what stops it, and what its log says."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway


async def test_a_descriptor_file_that_is_none_stops_the_gateway_at_its_start(
    tmp_path: Path,
) -> None:
    """Not the first request that needs it."""
    junk = tmp_path / "junk.binpb"
    junk.write_bytes(b"\xff\xff")
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(junk)]}
    with pytest.raises(ConfigError, match=r"backend b: .*junk\.binpb"):
        async with Gateway.open(GatewayConfig.model_validate({"backends": [backend]})):
            pass


async def test_a_backend_that_is_down_at_the_start_is_reported_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And does not stop the gateway."""
    caplog.set_level(logging.INFO, "lro_gateway")
    backend = {"name": "b", "target": "127.0.0.1:1", "deadline": "0.5s"}
    reported = asyncio.Event()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "backend b is not serving yet" in record.getMessage():
                reported.set()

    handler = Listening()
    logging.getLogger("lro_gateway").addHandler(handler)
    try:
        async with (
            Gateway.open(GatewayConfig.model_validate({"backends": [backend]})),
            asyncio.timeout(10),
        ):
            await reported.wait()
    finally:
        logging.getLogger("lro_gateway").removeHandler(handler)
    assert "cannot be reached" in caplog.text


async def test_a_gateway_without_a_key_warns_that_its_tokens_end_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A key is a choice of whoever runs more than one replica."""
    async with Gateway.open(GatewayConfig()):
        pass
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "server.keys has no key, so task ids and page tokens are valid only until"
        " this process ends, and other replicas reject them"
    )


async def test_an_error_of_the_gateways_user_comes_out_as_it_is() -> None:
    """No ExceptionGroup of the gateway's own tasks is around it."""
    with pytest.raises(LookupError):
        async with Gateway.open(GatewayConfig()):
            raise LookupError

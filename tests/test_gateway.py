"""Opening a gateway: the mistakes that stop it, and its log."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from lro_gateway import gateway as module
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.store import StoreConfig
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import Location
from tests.contrary import ContraryBackend
from tests.ports import unused_address


async def test_a_malformed_descriptor_file_stops_the_gateway_at_its_start(
    tmp_path: Path,
) -> None:
    """The error is not delayed to the first request that needs the file."""
    junk = tmp_path / "junk.binpb"
    junk.write_bytes(b"\xff\xff")
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(junk)]}
    with pytest.raises(ConfigError, match=r"backend b: .*junk\.binpb"):
        async with Gateway.open(GatewayConfig.model_validate({"backends": [backend]})):
            pass


async def test_a_backend_that_is_down_at_the_start_is_reported_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The gateway starts although the backend is down."""
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
            asyncio.timeout(60),
        ):
            await reported.wait()
    finally:
        logging.getLogger("lro_gateway").removeHandler(handler)
    assert "cannot be reached" in caplog.text


@pytest.mark.usefixtures("_patient_health")
async def test_each_change_of_a_backend_that_nobody_calls_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the gateway looks."""
    caplog.set_level(logging.INFO, "lro_gateway.gateway")
    monkeypatch.setattr(module, "_HEALTH_INTERVAL", 0.001)
    logged: asyncio.Queue[str] = asyncio.Queue()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("backend b "):
                logged.put_nowait(record.getMessage())

    handler = Listening()
    logging.getLogger("lro_gateway.gateway").addHandler(handler)
    address = unused_address()
    backend = {"name": "b", "target": address, "descriptors": []}
    config = GatewayConfig.model_validate({"backends": [backend]})
    serving = f"backend b at {address} is serving"
    try:
        async with asyncio.timeout(60), Gateway.open(config) as gateway:
            assert (await logged.get()).startswith("backend b is not serving yet: ")
            for _ in range(2):
                async with ContraryBackend.open({}, address=address):
                    assert await logged.get() == serving
                lost = await logged.get()
                assert lost.startswith("backend b is not serving any more: ")
                assert "cannot be reached" in lost
                for _ in range(5):
                    await gateway.health_checks[0].report()
            assert logged.empty()
    finally:
        logging.getLogger("lro_gateway.gateway").removeHandler(handler)


async def test_a_gateway_without_a_key_warns_that_its_tokens_end_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An operator of several replicas must configure a key."""
    async with Gateway.open(GatewayConfig()):
        pass
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "server.keys has no key, which suffices for a trial: task ids, page tokens and the"
        " secrets of webhooks are valid only until this process ends, and other replicas reject"
        " them"
    )


async def test_an_error_in_the_body_of_the_context_is_raised_unchanged() -> None:
    """It is not in an ExceptionGroup of the gateway's own tasks."""
    with pytest.raises(LookupError):
        async with Gateway.open(GatewayConfig()):
            raise LookupError


async def test_a_file_without_certificates_for_webhooks_stops_the_gateway(tmp_path: Path) -> None:
    """The error is not delayed to the first webhook, and names the setting."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    settings = {
        "store": {"url": f"sqlite:///{tmp_path}/store.sqlite3"},
        "deliveries": {"ca": str(file)},
    }
    with pytest.raises(ConfigError, match=r"deliveries\.ca: .*ca\.pem is no file of certificates"):
        async with Gateway.open(GatewayConfig.model_validate(settings)):
            pass


async def test_a_default_file_that_cannot_be_written_stops_no_gateway(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has configured it. A file that is configured stops the gateway."""
    (tmp_path / "file").touch()
    for is_default in (True, False):
        store = Location(tmp_path / "file" / "store.sqlite3", is_default=is_default)
        opening = Gateway.open(GatewayConfig(store=StoreConfig(url=store)))
        if is_default:
            async with opening as gateway:
                assert not gateway.service.mine.is_kept
            assert "this gateway runs without a store" in caplog.text
        else:
            with pytest.raises(ConfigError, match=r"store: the store .* cannot be opened"):
                await opening.__aenter__()

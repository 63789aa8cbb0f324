"""The settings of calls that need an approval."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import BackendConfig, GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import Location
from lro_gateway.service.approving import ApprovingService

BACKEND = {"name": "b", "target": "127.0.0.1:1"}


def test_required_means_all_methods() -> None:
    """The others are patterns as of `confirm`."""
    assert BackendConfig(**BACKEND, approval="required").approval == ("*",)  # type: ignore[arg-type]  # as in the file
    some = BackendConfig(**BACKEND, approval=["*/Drop*"], approval_expires="36h")  # type: ignore[arg-type]  # as in the file
    assert (some.approval, some.approval_expires) == (("*/Drop*",), timedelta(hours=36))


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"approval": ["google.longrunning.Operations/DeleteOperation"]}, "use confirm"),
        ({"approval_expires": "0s"}, "more than 0s"),
        ({"approval_expires": "721h"}, "at most 720h"),
        ({"self_approval": 1}, "valid boolean"),
    ],
)
def test_a_mistake_is_found(setting: dict[str, object], problem: str) -> None:
    """Before the start."""
    with pytest.raises(ValidationError, match=problem):
        BackendConfig(**BACKEND, **setting)  # type: ignore[arg-type]  # the test is about them


async def test_calls_that_could_never_be_approved_stop_the_start(tmp_path: Path) -> None:
    """Without a store they could not wait, and without identities nobody is another one."""
    given = {"server": {"port": 0}, "backends": [{**BACKEND, "approval": "required"}]}
    config = GatewayConfig.model_validate(given)
    with pytest.raises(ConfigError) as caught:
        async with Gateway.open(config):
            pass
    store, auth = caught.value.mistakes
    assert store.startswith("backend b: approval needs a store, which keeps the calls that wait;")
    assert auth.startswith("backend b: approval needs [auth], because without it all callers are")
    own = {**BACKEND, "approval": "required", "self_approval": True}
    url = Location(tmp_path / "store.sqlite3")
    config = GatewayConfig.model_validate({**given, "store": {"url": url}, "backends": [own]})
    async with Gateway.open(config) as gateway:
        assert isinstance(gateway.service, ApprovingService)

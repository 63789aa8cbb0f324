"""The settings of a backend reach its calls, and no secret of them shows."""

from __future__ import annotations

from pathlib import Path

from lro_gateway.backends.credentials.shown import Credentials
from lro_gateway.config.endpoints import call_metadata, endpoint_of
from lro_gateway.config.models import BackendConfig


def test_an_endpoint_has_the_settings_and_hides_the_metadata(tmp_path: Path) -> None:
    """Logs may have the `repr` of an endpoint."""
    ca = tmp_path / "ca.pem"
    ca.touch()
    config = BackendConfig.model_validate(
        {
            "name": "b",
            "target": "h:1",
            "tls": {"ca": str(ca)},
            "metadata": {"x-token": "sesame"},
            "deadline": "7s",
            "baggage": ["tenant"],
        }
    )
    credentials = Credentials(headers=["x-region"])
    endpoint = endpoint_of(config, credentials)
    assert (endpoint.name, endpoint.target, endpoint.baggage) == ("b", "h:1", ("tenant",))
    assert endpoint.tls is not None
    assert (endpoint.tls.ca, endpoint.deadline.total_seconds()) == (ca, 7)
    assert endpoint.credentials is credentials
    assert endpoint.metadata == call_metadata(config) == (("x-token", "sesame"),)
    assert "sesame" not in repr(endpoint)

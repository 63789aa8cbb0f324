"""The table `[limits]`."""

from datetime import timedelta
from pathlib import Path

import pytest

from lro_gateway.config.loading import ConfigError, load


def test_a_file_sets_limits(tmp_path: Path) -> None:
    """A limit that the file does not set has its default."""
    file = tmp_path / "gateway.toml"
    file.write_text('[limits]\nmax_connections = 12\nheader_timeout = "2s"\n')
    limits = load(file).limits
    assert limits.max_connections == 12
    assert limits.header_timeout == timedelta(seconds=2)
    assert limits.max_headers == 200


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("max_connections = 0", "limits.max_connections: must be at least 1"),
        ("max_header_bytes = 100", "limits.max_header_bytes: must be at least 1024"),
        ("max_target_bytes = 255", "limits.max_target_bytes: must be at least 256"),
        ('body_timeout = "0s"', "limits.body_timeout: must be more than 0s and at most 1h"),
        ("idle_timeout = 5", 'limits.idle_timeout: the unit is missing: write "5s" for seconds'),
        ('max_streams = "5"', "limits.max_streams: a whole number is needed, without quotes"),
        (
            "max_conections = 5",
            "limits.max_conections: there is no such key; did you mean max_connections?",
        ),
    ],
)
def test_a_wrong_limit_is_a_mistake(line: str, mistake: str, tmp_path: Path) -> None:
    """The gateway does not start with a limit that it could not keep."""
    file = tmp_path / "gateway.toml"
    file.write_text(f"[limits]\n{line}\n")
    with pytest.raises(ConfigError) as raised:
        load(file)
    assert raised.value.mistakes == (f"{file}: {mistake}",)

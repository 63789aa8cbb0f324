"""The table `[limits]`."""

from datetime import timedelta
from pathlib import Path

import pytest

from lro_gateway.access.policy import Verb
from lro_gateway.config.loading import ConfigError, load
from lro_gateway.service.rates import Rate

RATE = 'a rate is needed, such as "10/1m" for ten calls in a minute'


def test_a_file_sets_limits(tmp_path: Path) -> None:
    """A limit that the file does not set has its default."""
    file = tmp_path / "gateway.toml"
    file.write_text('[limits]\nmax_connections = 12\nheader_timeout = "2s"\n')
    limits = load(file).limits
    assert limits.max_connections == 12
    assert limits.header_timeout == timedelta(seconds=2)
    assert limits.max_headers == 200
    assert not limits.rates.by_verb


def test_a_file_sets_rates(tmp_path: Path) -> None:
    """A verb that the file does not name has no rate."""
    file = tmp_path / "gateway.toml"
    file.write_text('[limits.rates]\nstart = "10/1m"\nlist = "5/1m30s"\n')
    assert load(file).limits.rates.by_verb == {
        Verb.START: Rate(10, timedelta(minutes=1), "10/1m"),
        Verb.LIST: Rate(5, timedelta(seconds=90), "5/1m30s"),
    }


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("max_connections = 0", "limits.max_connections: must be at least 1"),
        ("max_header_bytes = 100", "limits.max_header_bytes: must be at least 1024"),
        ("max_target_bytes = 255", "limits.max_target_bytes: must be at least 256"),
        ("max_target_bytes = 65536", "limits.max_target_bytes: must be at most 65535"),
        ('body_timeout = "0s"', "limits.body_timeout: must be more than 0s and at most 1h"),
        ("idle_timeout = 5", 'limits.idle_timeout: the unit is missing: write "5s" for seconds'),
        ('max_streams = "5"', "limits.max_streams: a whole number is needed, without quotes"),
        ('rates = { start = "10" }', f"limits.rates.start: {RATE}"),
        ("rates = { start = 10 }", f"limits.rates.start: {RATE}"),
        ('rates = { start = "0/1m" }', f"limits.rates.start: {RATE}"),
        (
            'rates = { get = "5/60" }',
            'limits.rates.get: the unit is missing: write "60s" for seconds',
        ),
        (
            'rates = { get = "5/25h" }',
            "limits.rates.get: the period of a rate must be at least 1ms and at most 24h",
        ),
        (
            'rates = { wait = "5/1m" }',
            (
                "limits.rates.wait: there is no such key; the keys are get, list, cancel, delete,"
                " start, call, approve"
            ),
        ),
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

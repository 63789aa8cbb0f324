"""The table `[logs]`."""

from pathlib import Path

import pytest

from lro_gateway.config.loading import ConfigError, load
from lro_gateway.config.logs import LogsConfig


def test_a_file_and_options_set_the_log(tmp_path: Path) -> None:
    """An option overrides the file. Upper and lower case mean the same."""
    file = tmp_path / "gateway.toml"
    file.write_text('[logs]\nlevel = "Warning"\nformat = "JSON"\n')
    assert load(file).logs == LogsConfig(level="warning", format="json")
    assert load(file, options={"logs": {"level": "DEBUG"}}).logs.level == "debug"


def test_a_wrong_level_is_a_mistake(tmp_path: Path) -> None:
    """The text names the place, and the values that there are."""
    file = tmp_path / "gateway.toml"
    file.write_text('[logs]\nlevel = "loud"\nformat = 5\n')
    with pytest.raises(ConfigError) as raised:
        load(file)
    assert raised.value.mistakes == (
        f'{file}: logs.level: "debug", "info", "warning" or "error" is needed',
        f'{file}: logs.format: "text" or "json" is needed',
    )
    with pytest.raises(ConfigError) as raised:
        load(file, options={"logs": {"level": "loud", "format": "xml"}})
    assert raised.value.mistakes == (
        '--log-level: "debug", "info", "warning" or "error" is needed',
        '--log-format: "text" or "json" is needed',
    )

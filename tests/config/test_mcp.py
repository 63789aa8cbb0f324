"""The table `[mcp]`."""

from pathlib import Path

import pytest

from lro_gateway.config.loading import ConfigError, load


def test_output_schemas_are_short_unless_the_file_wants_them_full(tmp_path: Path) -> None:
    """Short schemas cost a model less."""
    file = tmp_path / "gateway.toml"
    file.write_text("")
    assert load(file).mcp.output_schemas == "short"
    file.write_text('[mcp]\noutput_schemas = "full"\n')
    assert load(file).mcp.output_schemas == "full"


def test_the_budget_of_tools_has_a_default_and_no_limit(tmp_path: Path) -> None:
    """0 means no limit."""
    file = tmp_path / "gateway.toml"
    file.write_text("")
    assert load(file).mcp.tool_budget == 10_000
    file.write_text("[mcp]\ntool_budget = 0\n")
    assert load(file).mcp.tool_budget == 0


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("tool_budget = -1", "mcp.tool_budget: must be at least 0"),
        ('tool_budget = "all"', "mcp.tool_budget: a whole number is needed, without quotes"),
        ('output_schemas = "none"', 'mcp.output_schemas: "short" or "full" is needed'),
        (
            'output_schema = "full"',
            "mcp.output_schema: there is no such key; did you mean output_schemas?",
        ),
    ],
)
def test_a_wrong_setting_is_a_mistake(line: str, mistake: str, tmp_path: Path) -> None:
    """The text names the values, or the key that is probably meant."""
    file = tmp_path / "gateway.toml"
    file.write_text(f"[mcp]\n{line}\n")
    with pytest.raises(ConfigError) as raised:
        load(file)
    assert raised.value.mistakes == (f"{file}: {mistake}",)

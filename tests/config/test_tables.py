"""What all tables of the configuration have in common."""

import pytest
from pydantic import ValidationError

from lro_gateway.config.tables import Table


class Keys(Table):
    """A table with a secret."""

    secret: int = 1


def test_a_table_refuses_a_key_that_it_does_not_have() -> None:
    """A misspelt key is a mistake."""
    with pytest.raises(ValidationError, match="Extra inputs"):
        Keys.model_validate({"secrets": 1})


def test_no_error_of_a_table_shows_a_value() -> None:
    """A value may be a secret."""
    with pytest.raises(ValidationError) as raised:
        Keys.model_validate({"secret": "hunter2"})
    assert "hunter2" not in str(raised.value)


def test_a_table_cannot_change() -> None:
    """The parts of the gateway can share a table."""
    with pytest.raises(ValidationError, match="frozen"):
        Keys().secret = 2

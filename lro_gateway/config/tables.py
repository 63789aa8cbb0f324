"""The base of the models of the configuration, each of which describes one table of the file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of the configuration, which cannot change, and refuses keys that it does not have."""

    # A value may be a secret, so no error text has it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

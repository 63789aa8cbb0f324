"""The formats of `--format`: what a command prints for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from lro_gateway.commands.terminal.failures import CommandError

TABLE: Final = "table"
_VALUE: Final = re.compile(r"value\((.+)\)\Z", re.DOTALL)
_STEP: Final = re.compile(r"[^.\[\]]+|\[\d+\]")


def checked_format(text: str) -> str:
    """Return a format. Raise `CommandError` if there is no such format."""
    if text in {TABLE, "json", "yaml"} or _VALUE.match(text):
        return text
    raise CommandError(
        f"there is no format {text!r}; use table, json, yaml or value(PATH,...), such as"
        " value(name,summary.percent)"
    )


def formatted(form: str, value: Any) -> str:
    """Return a JSON value in a format other than `table`, with a line break at its end.

    `value(PATH,...)` gives a line for each item of a list, with a tab between two values.
    """
    if form == "json":
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if form == "yaml":
        return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    found = _VALUE.match(form)
    paths = [path.strip() for path in found[1].split(",")] if found else []
    items = value if isinstance(value, list) else [value]
    return "".join("\t".join(_text(_at(item, path)) for path in paths) + "\n" for item in items)


def _at(value: Any, path: str) -> Any:
    """Return what stands at a path such as `metadata.steps[0].name`, or None."""
    for step in _STEP.findall(path):
        if step.startswith("["):
            index = int(step[1:-1])
            value = value[index] if isinstance(value, Sequence) and index < len(value) else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # A tab or a line break in a value would look like the end of the value.
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")

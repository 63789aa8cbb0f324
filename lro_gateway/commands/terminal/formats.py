"""The formats of `--format`: what a command prints for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.errors import escaped

TABLE: Final = "table"
_VALUE: Final = re.compile(r"value\((.+)\)\Z", re.DOTALL)
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_STEP: Final = re.compile(r"[^.\[\]]+|\[\d+\]")
_MEMBERS: Final = frozenset({"name", "metadata", "done", "error", "response", "summary"})
"""The fields of an Operation, of which some have only a part."""
_SUMMARY: Final = frozenset(
    {"state", "backend", "kind", "percent", "statusText", "createTime", "updateTime"}
)


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
        # It is imported only now, because no other format of a list needs it.
        yaml = import_module("yaml")
        return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    paths = _paths(form)
    items = value if isinstance(value, list) else [value]
    return "".join("\t".join(_text(_at(item, path)) for path in paths) + "\n" for item in items)


def for_terminal(form: str, text: str) -> str:
    """Return a formatted text with an escape for each character that shows nothing.

    A backend could send characters that change a terminal, or the direction of a text. The escapes
    of JSON are those of JSON, so that it stays the same value.
    """
    escape = _json_escaped if form == "json" else escaped
    lines = text.split("\n")
    return "\n".join("\t".join(escape(cell) for cell in line.split("\t")) for line in lines)


def _json_escaped(text: str) -> str:
    kept = escaped(text)
    if kept == text:
        return text
    return "".join(each if escaped(each) == each else json.dumps(each)[1:-1] for each in text)


def unknown_paths(form: str, value: Any) -> list[str]:
    """Return a sentence for each path of `value(PATH,...)` that cannot be right.

    Such a path leads to a message that some item has, and then to a field that no item has there.
    A field of an Operation that only some operations have, such as `error`, is no such field.
    """
    items = value if isinstance(value, list) else [value]
    return list(filter(None, (_unknown(path, items) for path in _paths(form)))) if items else []


def _unknown(path: str, items: Sequence[Any]) -> str:
    values = [item for item in items if isinstance(item, Mapping)]
    walked = ""
    for step in _STEP.findall(path):
        known = {key for each in values for key in each}
        if not walked and "done" in known:
            known |= _MEMBERS
        elif walked == "summary":
            known |= _SUMMARY
        if step not in known:
            where = f"the fields of {walked} are" if walked else "the fields are"
            problem = f"nothing has {path!r}, so its values are empty; {where}"
            return f"{problem} {', '.join(sorted(known))}" if known else ""
        walked = f"{walked}.{step}".lstrip(".")
        values = [each[step] for each in values if isinstance(each.get(step), Mapping)]
        if not values:
            break
    return ""


def _paths(form: str) -> list[str]:
    found = _VALUE.match(form)
    return [path.strip() for path in found[1].split(",")] if found else []


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
    return text.translate(_ESCAPES)

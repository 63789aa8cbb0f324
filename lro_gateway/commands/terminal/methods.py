"""The help for a call of a method: its fields, and the names of other methods."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lro_gateway.errors import escaped

_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_COMMENT: Final = re.compile(r'"([^"]*)"')
"""The comment on a field in its description, which also has sentences of the gateway."""
_BACKEND: Final = re.compile(r"(?:gateway_)*backend")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s")
_IN_EXAMPLE: Final = 3
"""The number of fields in the example of a request that declares none as required."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request: its path, such as `spec.size`, its type, and a sentence about it."""

    path: str
    type: str
    is_required: bool
    text: str


def tool_name(method: str) -> str:
    """Return the name of a method's tool: the last parts of its name, in snake_case."""
    parts = re.split(r"[./]", method.strip("/"))
    words = [_CAPITAL.sub("_", part).lower() for part in parts]
    return "_".join(words[-2:]) if len(words) > 1 else words[0]


def spelt_like(name: str, method: str) -> str:
    """Return the name of a tool in the spelling of a method: CamelCase if the method has capitals.

    For `CreateDatabse` this is `CreateDatabase` instead of `create_database`.
    """
    if method == method.lower():
        return name
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def fields_of(schema: Mapping[str, Any], outer: str = "") -> Iterator[Field]:
    """Yield the fields of a request by the schema of its tool, those of inner messages too."""
    required = schema.get("required", ())
    for key, field in schema.get("properties", {}).items():
        path = f"{outer}.{key}" if outer else key
        description = field.get("description", "")
        text = _first_sentence(description)
        yield Field(escaped(path), escaped(_type_of(field)), key in required, escaped(text))
        yield from fields_of(field, path)


def fields_table(schema: Mapping[str, Any]) -> RenderableType:
    """Return the fields of a request as a table, or a sentence if it has none."""
    fields = list(fields_of(schema))
    if not fields:
        return Text("The request has no fields.")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("FIELD", "TYPE", "REQUIRED"):
        table.add_column(title, overflow="fold")
    table.add_column("MEANING", overflow="fold")
    for each in fields:
        needed = "required" if each.is_required else ""
        table.add_row(*map(Text, (each.path, each.type, needed, each.text)))
    return table


def method_help(method: str, tool: Mapping[str, Any]) -> RenderableType:
    """Return what a method does, its fields, and an example of its call."""
    schema = tool["inputSchema"]
    backends = backends_of(schema)
    given = [
        f" --field {each}{':=' if _is_json(schema['properties'][each]) else '='}VALUE"
        for each in schema.get("required") or _first_fields(schema)
    ]
    if backends:
        given.append(f" --backend {backends[0]}")
    return Group(
        Text(escaped(tool.get("description", ""))),
        Text(),
        fields_table(schema),
        Text(),
        Text("Example:"),
        Text(escaped(f"  lro-gateway call {method}{''.join(given)}")),
        Text("`lro-gateway call --help` shows the options."),
    )


def _first_fields(schema: Mapping[str, Any]) -> Sequence[str]:
    """Return the first fields of a request that declares none as required."""
    names = [*schema["properties"]]
    return (names[:-1] if backends_of(schema) else names)[:_IN_EXAMPLE]


def backends_of(schema: Mapping[str, Any]) -> Sequence[str]:
    """Return the backends of which the caller of a method chooses one, or none."""
    fields = schema["properties"]
    last = next(reversed(fields), "")
    # The gateway adds its argument after the fields, and a field may have the shorter name.
    is_argument = last == max(_backend_names(fields), key=len, default=None)
    values: Sequence[str] = fields[last].get("enum", ()) if is_argument else ()
    return values


def backend_argument(schema: Mapping[str, Any]) -> str:
    """Return the name of the argument that chooses a backend. No field of the request has it."""
    longest = max(_backend_names(schema["properties"]), key=len, default="")
    if backends_of(schema):
        return longest
    return f"gateway_{longest}" if longest else "backend"


def _backend_names(fields: Mapping[str, Any]) -> list[str]:
    return [each for each in fields if _BACKEND.fullmatch(each)]


def _is_json(field: Mapping[str, Any]) -> bool:
    return bool(field["type"] != "string")


def _type_of(field: Mapping[str, Any]) -> str:
    if values := field.get("enum"):
        return " | ".join(values)
    if field["type"] == "array":
        return f"list of {_type_of(field['items'])}"
    if field["type"] == "object" and (values := field.get("additionalProperties")):
        return f"map of {_type_of(values)}"
    return str(field.get("format") or field["type"])


def _first_sentence(description: str) -> str:
    """Return the first sentence of the comment, or of the gateway's own words without one."""
    comment = _COMMENT.match(description)
    return _SENTENCE.split(comment[1] if comment else description, maxsplit=1)[0]

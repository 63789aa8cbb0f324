"""The argument of tools that chooses a backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lro_gateway.descriptors.json_forms import Schema


def backend_schema(backends: Iterable[str], text: str, descriptions: Mapping[str, str]) -> Schema:
    """Return the schema of the argument: what it does, and then what the backends are.

    `descriptions` has the descriptions of all backends by name. They may be empty.
    """
    names = list(backends)
    described = [
        f"{name}: {description}{'' if description[-1] in '.!?' else '.'}"
        for name in names
        if (description := descriptions.get(name))
    ]
    return {"type": "string", "enum": names, "description": " ".join([text, *described])}

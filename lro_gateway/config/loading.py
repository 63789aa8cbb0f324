"""Reads the configuration and reports all of its mistakes at once, each with its file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.values import Operations
from lro_gateway.operations.names import NameMapping, overlapping


class ConfigError(Exception):
    """A configuration has mistakes; `mistakes` has one line for each of them."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        """Keep the mistakes, each of which names its location."""
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def load(file: Path | None, backends: Iterable[str] = ()) -> GatewayConfig:
    """Read a file and `--backend` options. If there are mistakes, one `ConfigError` has all."""
    data = _read(file) if file else {}
    listed = data.get("backends", [])
    entries = [(f"{file}: backends[{index}]", entry) for index, entry in enumerate(_list(listed))]
    entries += [(f"--backend {option}", _option(option)) for option in backends]
    mistakes = []
    if not isinstance(listed, list):
        mistakes.append(f"{file}: backends: write each backend under [[backends]]")
    data = {**data, "backends": [entry for _, entry in entries]}
    locations = [location for location, _ in entries]
    config = None
    try:
        context = {"base": file.parent if file else Path()}
        config = GatewayConfig.model_validate(data, context=context)
    except ValidationError as error:
        mistakes += [_mistake(detail, file, locations) for detail in error.errors()]
    mistakes += _conflicts(entries)
    if mistakes or config is None:
        raise ConfigError(mistakes)
    return config


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: is not TOML: {error}"]) from error


def _option(option: str) -> dict[str, str]:
    """Read `[NAME=]HOST:PORT`. If there is no name, the backend gets its target as its name."""
    name, separator, target = option.partition("=")
    return {"name": name, "target": target} if separator else {"name": option, "target": option}


_TEXTS: Final = {
    "extra_forbidden": "there is no such key",
    "missing": "is missing",
    "tuple_type": "a list is needed, such as [...]",
    "dict_type": "a table is needed, such as {}",
    "model_type": "a table is needed, such as {}",
    "int_type": "a whole number is needed, without quotes",
    "float_type": "a number is needed, without quotes",
    "string_type": "text in quotes is needed",
}
"""The text to show for each type of mistake that pydantic finds."""


def _mistake(detail: Any, file: Path | None, locations: Sequence[str]) -> str:
    """Return one mistake as `LOCATION: KEY: TEXT`.

    The location is the file, an entry of the file or a `--backend` option. `locations` has the
    location of each backend.
    """
    keys = list(detail["loc"])
    location = f"{file}: " if file else ""
    if keys[:1] == ["backends"]:
        location, keys = locations[keys[1]], keys[2:]
        # A dot joins a key to an entry of the file, as in backends[0].target.
        location += "" if not keys else ": " if location.startswith("--backend") else "."
    text = _TEXTS.get(detail["type"]) or str(detail["msg"]).removeprefix("Value error, ")
    return f"{location}{_key(keys)}: {text}"


def _key(keys: Iterable[object]) -> str:
    # For a mistake in the key of a dictionary, pydantic adds the part "[key]".
    parts = (part for part in keys if part != "[key]")
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).removeprefix(".")


def _conflicts(entries: Iterable[tuple[str, object]]) -> list[str]:
    """Find names that two backends share, and patterns that overlap.

    An entry with other mistakes is examined too.
    """
    owned: dict[str, tuple[NameMapping, ...]] = {}
    location_of: dict[str, str] = {}
    mistakes = []
    for location, entry in entries:
        if not isinstance(entry, dict) or not isinstance(name := entry.get("name"), str):
            continue
        if name in location_of:
            mistakes.append(f"{location}: the name {name!r} is taken by {location_of[name]}")
            continue
        location_of[name] = location
        try:
            owned[name] = _OPERATIONS.validate_python(entry.get("operations", ()))
        except ValidationError:
            # The model has already reported these mistakes.
            owned[name] = ()
    for (name, pattern), (other, other_pattern) in overlapping(owned):
        mistakes.append(
            f"{location_of[other]}.operations: {other_pattern.text!r} and {pattern.text!r} of"
            f" {location_of[name]} match some of the same names; narrow one pattern, or map one to"
            ' other names ({"own/form/{id}" = "other/form/{id}"}), or remove both and name the'
            " backend in each call"
        )
    return mistakes


_OPERATIONS: Final = TypeAdapter[tuple[NameMapping, ...]](Operations)

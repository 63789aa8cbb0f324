"""Reading the configuration: every mistake is reported at once, with its file and key."""

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
    """Everything that is wrong with a configuration, one line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        """Take the mistakes, each with its place."""
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def load(file: Path | None, backends: Iterable[str] = ()) -> GatewayConfig:
    """Read a file and `--backend` options; `ConfigError` tells every mistake at once."""
    data = _read(file) if file else {}
    listed = data.get("backends", [])
    entries = [(f"{file}: backends[{index}]", entry) for index, entry in enumerate(_list(listed))]
    entries += [(f"--backend {option}", _option(option)) for option in backends]
    mistakes = []
    if not isinstance(listed, list):
        mistakes.append(f"{file}: backends: write each backend under [[backends]]")
    data = {**data, "backends": [entry for _, entry in entries]}
    places = [place for place, _ in entries]
    config = None
    try:
        context = {"base": file.parent if file else Path()}
        config = GatewayConfig.model_validate(data, context=context)
    except ValidationError as error:
        mistakes += [_mistake(detail, file, places) for detail in error.errors()]
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
    """Read `[NAME=]HOST:PORT`; without a name the target names the backend."""
    name, separator, target = option.partition("=")
    return {"name": name, "target": target} if separator else {"name": option, "target": option}


_WORDS: Final = {
    "extra_forbidden": "there is no such key",
    "missing": "is missing",
    "tuple_type": "a list is needed, such as [...]",
    "dict_type": "a table is needed, such as {}",
    "model_type": "a table is needed, such as {}",
    "int_type": "a whole number is needed, without quotes",
    "float_type": "a number is needed, without quotes",
    "string_type": "text in quotes is needed",
}
"""What pydantic says of a mistake, in the words of the file."""


def _mistake(detail: Any, file: Path | None, places: Sequence[str]) -> str:
    """Say one mistake as `PLACE: KEY: what`, the place being a file's entry or an option."""
    location = list(detail["loc"])
    place = f"{file}: " if file else ""
    if location[:1] == ["backends"]:
        place, location = places[location[1]], location[2:]
        # A key of a file's entry is part of its place: backends[0].target
        place += "" if not location else ": " if place.startswith("--backend") else "."
    text = _WORDS.get(detail["type"]) or str(detail["msg"]).removeprefix("Value error, ")
    return f"{place}{_key(location)}: {text}"


def _key(location: Iterable[object]) -> str:
    # pydantic says of a dictionary's key that it is at [key].
    parts = (part for part in location if part != "[key]")
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).removeprefix(".")


def _conflicts(entries: Iterable[tuple[str, object]]) -> list[str]:
    """Find names taken twice and patterns that overlap, whatever else is wrong with an entry."""
    owned: dict[str, tuple[NameMapping, ...]] = {}
    where: dict[str, str] = {}
    mistakes = []
    for place, entry in entries:
        if not isinstance(entry, dict) or not isinstance(name := entry.get("name"), str):
            continue
        if name in where:
            mistakes.append(f"{place}: the name {name!r} is taken by {where[name]}")
            continue
        where[name] = place
        try:
            owned[name] = _OPERATIONS.validate_python(entry.get("operations", ()))
        except ValidationError:
            # Told already, each with its place.
            owned[name] = ()
    for (name, pattern), (other, other_pattern) in overlapping(owned):
        mistakes.append(
            f"{where[other]}.operations: {other_pattern.text!r} and {pattern.text!r} of"
            f" {where[name]} match some of the same names; narrow one, map one to names of"
            ' its own ({"own/form/{id}" = "other/form/{id}"}), or leave both out and say backend'
        )
    return mistakes


_OPERATIONS: Final = TypeAdapter[tuple[NameMapping, ...]](Operations)

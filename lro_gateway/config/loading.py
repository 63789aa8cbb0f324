"""Reads the configuration and reports all of its mistakes at once, each with its file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.policy import unknown_backends
from lro_gateway.config.suggestions import unknown_key
from lro_gateway.config.targets import checked_target, split_option
from lro_gateway.config.values import Operations
from lro_gateway.operations.names import NameMapping, overlapping


class ConfigError(Exception):
    """A configuration has mistakes; `mistakes` has one line for each of them."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        """Keep the mistakes, each of which names its location."""
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def load(
    file: Path | None,
    backends: Iterable[str] = (),
    options: Mapping[str, Mapping[str, object]] | None = None,
) -> GatewayConfig:
    """Read a file and the options of a command. If there are mistakes, one `ConfigError` has all.

    Each of `backends` is the value of a `--backend` option. `options` has the values of options
    that override keys of a table, such as `--port`, by table and key.
    """
    data = _read(file) if file else {}
    listed = data.get("backends", [])
    entries = [(f"{file}: backends[{index}]", entry) for index, entry in enumerate(_list(listed))]
    entries += [(f"--backend {option}", _option(option)) for option in backends]
    mistakes = []
    if not isinstance(listed, list):
        mistakes.append(f"{file}: backends: write each backend under [[backends]]")
    data = {**data, "backends": [entry for _, entry in entries]}
    options = options or {}
    for name, values in options.items():
        if isinstance(table := data.get(name, {}), dict):
            data[name] = {**table, **values}
    overridden = {(name, key) for name, values in options.items() for key in values}
    location = _Location(file, [name for name, _ in entries], frozenset(overridden))
    config = None
    try:
        context = {"base": file.parent if file else Path()}
        config = GatewayConfig.model_validate(data, context=context)
        names = [backend.name for backend in config.backends]
        unknown = unknown_backends(config.policy, names)
        mistakes += [location.text([key], text) for key, text in unknown]
    except ValidationError as error:
        mistakes += [location.text(each["loc"], _text(each)) for each in error.errors()]
    mistakes += _conflicts(entries)
    if mistakes or config is None:
        raise ConfigError(mistakes)
    return config


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _read(file: Path) -> dict[str, Any]:
    try:
        # Some editors write a byte order mark, which TOML does not know.
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: is not TOML: {error}"]) from error


def _option(option: str) -> dict[str, str]:
    """Read `[NAME=]TARGET`. A path in the target is relative to the working directory."""
    name, target = split_option(option)
    with suppress(ValueError):  # The model reports a wrong target.
        target = checked_target(target, Path())
    return {"name": name, "target": target}


@dataclass(frozen=True, slots=True)
class _Location:
    """The places of settings: the file, the place of each backend, and the keys of options."""

    file: Path | None
    backends: Sequence[str]
    options: frozenset[tuple[str, str]]

    def text(self, path: Sequence[object], problem: str) -> str:
        """Return a mistake with its place. A mistake of several tables has no key."""
        place = self._of(path) if path else str(self.file or "")
        return f"{place}: {problem}" if place else problem

    def _of(self, path: Sequence[object]) -> str:
        """Return the file and the key, an entry of the file and the key, or an option."""
        keys = list(path)
        if keys[:1] == ["backends"]:
            entry, keys = self.backends[int(str(keys[1]))], keys[2:]
            # A dot joins a key to an entry of the file, as in backends[0].target.
            joint = "" if not keys else ": " if entry.startswith("--backend") else "."
            return f"{entry}{joint}{_key(keys)}"
        if tuple(keys) in self.options:
            return f"--{'log-' if keys[0] == 'logs' else ''}{keys[1]}"
        return f"{self.file}: {_key(keys)}" if self.file else _key(keys)


_TEXTS: Final = {
    "missing": "is missing",
    "tuple_type": "a list is needed, such as [...]",
    "dict_type": "a table is needed, such as {}",
    "model_type": "a table is needed, such as {}",
    "int_type": "a whole number is needed, without quotes",
    "float_type": "a number is needed, without quotes",
    "float_parsing": "a number is needed, without quotes",
    "bool_type": "true or false is needed, without quotes",
    "bool_parsing": "true or false is needed, without quotes",
    "string_type": "text in quotes is needed",
}
"""The text to show for each type of mistake that pydantic finds."""

_BOUNDS: Final = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than_equal": "at most",
}
"""How the text for a number out of bounds describes the bound."""


def _text(mistake: Any) -> str:
    kind = mistake["type"]
    if kind == "extra_forbidden":
        return unknown_key(mistake["loc"])
    if kind == "literal_error":
        allowed = str(mistake["ctx"]["expected"]).replace("'", '"')
        return f"{allowed} is needed"
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind]} {next(iter(mistake['ctx'].values()))}"
    return _TEXTS.get(kind) or str(mistake["msg"]).removeprefix("Value error, ")


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
            mistakes.append(
                f"{location}: the name {name!r} is taken by {location_of[name]};"
                " give one of them another name"
            )
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

"""The configuration: pydantic models, every mistake reported at once with its file and key."""

from __future__ import annotations

import importlib.util
import ipaddress
import re
import tomllib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from google.protobuf.duration_pb2 import Duration
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from lro_gateway.names import NameMapping, overlapping

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_METADATA_KEY: Final = re.compile(r"[0-9a-z_.-]+\Z")
_METADATA_VALUE: Final = re.compile(r"[\x20-\x7e]*\Z")
_LONGEST: Final = timedelta(hours=1)


class ConfigError(Exception):
    """Everything that is wrong with a configuration, one line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        """Take the mistakes, each with its place."""
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def _parse_duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    duration = Duration()
    try:
        if not isinstance(value, str):
            raise ValueError  # noqa: TRY004, TRY301 - told in the same words as a malformed string
        duration.FromJsonString(value)
    except ValueError:
        raise ValueError('a duration in seconds is needed, such as "10s" or "0.5s"') from None
    return duration.ToTimedelta()


def _positive(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= _LONGEST:
        raise ValueError("must be more than 0s and at most 3600s")
    return value


PositiveDuration = Annotated[timedelta, BeforeValidator(_parse_duration), AfterValidator(_positive)]


def _beside_the_file(value: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base", Path())
    path = base / value
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


ExistingFile = Annotated[Path, AfterValidator(_beside_the_file)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class TlsConfig(_Model):
    """TLS to a backend; an empty table means TLS with the system's root certificates."""

    ca: ExistingFile | None = None
    cert: ExistingFile | None = None
    key: ExistingFile | None = None
    server_name: str | None = None


class BackendConfig(_Model):
    """One `[[backends]]` entry."""

    name: str
    target: str = Field(min_length=1)
    operations: tuple[NameMapping, ...] = ()
    descriptors: tuple[str, ...] = ("reflection",)
    list_name: Literal["parent", "collection"] = "parent"
    default_parent: str = ""
    max_page_size: int = Field(default=1000, ge=1)
    deadline: PositiveDuration = timedelta(seconds=10)
    keepalive: PositiveDuration = timedelta(seconds=60)
    descriptor_refresh: PositiveDuration = timedelta(minutes=5)
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=2**31 - 1)
    metadata: dict[str, str] = Field(default_factory=dict)
    tls: TlsConfig | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise ValueError("letters, digits and . _ : - are allowed, at most 128")
        return value

    @field_validator("operations", mode="before")
    @classmethod
    def _parse_operations(cls, value: object) -> object:
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list | tuple):
            raise ValueError("a list of patterns is needed")  # noqa: TRY004 - pydantic collects ValueError
        return tuple(mapping for entry in value for mapping in _mappings(entry))

    @field_validator("descriptors")
    @classmethod
    def _check_descriptors(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        checked = []
        for source in value:
            if source == "reflection":
                checked.append(source)
            elif source.startswith("module:"):
                _check_module(source.removeprefix("module:"))
                checked.append(source)
            else:
                checked.append(str(_beside_the_file(Path(source), info)))
        return tuple(checked)

    @field_validator("metadata")
    @classmethod
    def _check_metadata(cls, value: dict[str, str]) -> dict[str, str]:
        for key, text in value.items():
            if not _METADATA_KEY.match(key) or key.startswith("grpc-") or key.endswith("-bin"):
                raise ValueError(
                    f"{key!r} is no metadata key: lower case letters, digits and _ . - are allowed,"
                    " neither grpc- in front nor -bin at the end"
                )
            if not _METADATA_VALUE.match(text):
                raise ValueError(
                    f"the value of {key!r} has characters that are not printable ASCII"
                )
        return value


def _mappings(entry: object) -> list[NameMapping]:
    if isinstance(entry, NameMapping):
        return [entry]
    if isinstance(entry, str):
        return [NameMapping.parse(entry)]
    if isinstance(entry, dict) and all(isinstance(v, str) for v in entry.values()):
        return [NameMapping.parse(backend, gateway) for backend, gateway in entry.items()]
    raise ValueError(f"{entry!r} is neither a pattern nor a pair of patterns")


def _check_module(name: str) -> None:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise ValueError(f"there is no installed module {name!r}")


class ServerConfig(_Model):
    """The `[server]` table: where the gateway listens, and whom it answers."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class GatewayConfig(_Model):
    """A whole configuration file."""

    server: ServerConfig = ServerConfig()
    backends: tuple[BackendConfig, ...] = ()


def load(file: Path | None, backends: Iterable[str] = ()) -> GatewayConfig:
    """Read a file and `--backend` options; `ConfigError` tells every mistake at once."""
    mistakes: list[str] = []
    data = _read(file) if file else {}
    # What is not a list here is reported by the model.
    entries = list(data["backends"]) if isinstance(data.get("backends"), list) else []
    places = [f"{file}: backends[{index}]" for index in range(len(entries))]
    for option in backends:
        entries.append(_option(option))
        places.append(f"--backend {option}")
    if entries:
        data = {**data, "backends": entries}
    context = {"base": file.parent if file else Path()}
    config = None
    try:
        config = GatewayConfig.model_validate(data, context=context)
    except ValidationError as error:
        mistakes += [_mistake(detail, file, places) for detail in error.errors()]
    mistakes += _conflicts(entries, places, context)
    if mistakes or config is None:
        raise ConfigError(mistakes)
    return config


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


def _mistake(detail: Any, file: Path | None, places: Sequence[str]) -> str:
    location = list(detail["loc"])
    place = str(file) if file else "options"
    if location[:1] == ["backends"] and len(location) > 1 and isinstance(location[1], int):
        place, location = places[location[1]], location[2:]
        key = "." + _key(location) if location and file and place.startswith(str(file)) else ""
        key = key or (f" {_key(location)}" if location else "")
    else:
        key = f": {_key(location)}" if location else ""
    text = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        text = "there is no such key"
    return f"{place}{key}: {text}"


def _key(location: Sequence[object]) -> str:
    return ".".join(str(part) for part in location)


def _conflicts(entries: list[Any], places: list[str], context: dict[str, Any]) -> list[str]:
    """Find names taken twice and patterns that overlap, among the entries that are sound."""
    sound: dict[str, tuple[NameMapping, ...]] = {}
    mistakes = []
    where: dict[str, str] = {}
    for entry, place in zip(entries, places, strict=True):
        try:
            backend = BackendConfig.model_validate(entry, context=context)
        except ValidationError:
            continue
        if backend.name in sound:
            mistakes.append(f"{place}: the name {backend.name!r} is taken by {where[backend.name]}")
            continue
        sound[backend.name] = backend.operations
        where[backend.name] = place
    for (backend_name, pattern), (other, other_pattern) in overlapping(sound):
        mistakes.append(
            f"{where[other]}.operations: {other_pattern.text!r} and {pattern.text!r} of"
            f" {where[backend_name]} match some of the same names; narrow one, map one to names of"
            ' its own ({"own/form/{id}" = "other/form/{id}"}), or leave both out and say backend'
        )
    return mistakes

"""The configuration: pydantic models, every mistake reported at once with its file and key."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import ipaddress
import os
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
    PlainValidator,
    SecretBytes,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from lro_gateway.operations.names import NameMapping, overlapping
from lro_gateway.sealing import MIN_KEY

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_METADATA_KEY: Final = re.compile(r"[0-9a-z_.-]+\Z")
_METADATA_VALUE: Final = re.compile(r"[\x20-\x7e]*\Z")
_METHOD_PATTERN: Final = re.compile(r"(?=.*[/*])[A-Za-z0-9_./*?\[\]!-]+\Z")
_PROGRESS_FIELD: Final = re.compile(r"[a-z_][a-z0-9_.]*(?:/[a-z_][a-z0-9_.]*)?\Z", re.IGNORECASE)
_LONGEST: Final = timedelta(hours=1)
_LONGEST_GRACE: Final = timedelta(seconds=30)


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


def _short(value: timedelta) -> timedelta:
    if not timedelta(0) <= value <= _LONGEST_GRACE:
        raise ValueError("must be at least 0s and at most 30s")
    return value


PositiveDuration = Annotated[timedelta, BeforeValidator(_parse_duration), AfterValidator(_positive)]
ShortDuration = Annotated[timedelta, BeforeValidator(_parse_duration), AfterValidator(_short)]


def _beside_the_file(value: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base", Path())
    path = base / value
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def _read_key(value: object, info: ValidationInfo) -> object:
    """Read a key from where the configuration says; what it is never stands in an error."""
    if not isinstance(value, str):
        return value
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        text = os.environ.get(name)
        if text is None:
            raise ValueError(f"the environment has no variable {name!r}")
    else:
        file = _beside_the_file(Path(value), info)
        try:
            text = file.read_text("ascii")
        except (OSError, UnicodeDecodeError):
            raise ValueError(f"{file} cannot be read, or is not base64") from None
    try:
        key = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"what {value} holds is not base64") from None
    if len(key) < MIN_KEY:
        raise ValueError(
            f"what {value} holds has {len(key)} bytes, and {MIN_KEY} random ones are needed,"
            f" such as `openssl rand -base64 {MIN_KEY}` makes"
        )
    return key


Key = Annotated[SecretBytes, BeforeValidator(_read_key)]
ExistingFile = Annotated[Path, AfterValidator(_beside_the_file)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsConfig(_Model):
    """TLS to a backend; an empty table means TLS with the system's root certificates."""

    ca: ExistingFile | None = None
    cert: ExistingFile | None = None
    key: ExistingFile | None = None
    server_name: str | None = None

    @model_validator(mode="after")
    def _check_pair(self) -> TlsConfig:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together: one of them is missing")
        return self


def _check_name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError("letters, digits and . _ : - are allowed, at most 128")
    return value


def _check_target(value: str) -> str:
    if value.startswith(("http://", "https://")) or value.split() != [value]:
        raise ValueError("HOST:PORT is needed, without http:// in front; for https:// set tls = {}")
    return value


def _mapping(value: object) -> NameMapping:
    match value:
        case NameMapping():
            return value
        case str():
            return NameMapping.parse(value)
        case (str(backend), str(gateway)):
            return NameMapping.parse(backend, gateway)
        case _:
            raise ValueError("neither a pattern nor a pair of patterns")


def _entries(value: object) -> object:
    """Flatten tables of pairs, so that each mistake of each pattern is told."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError("a list of patterns is needed")  # noqa: TRY004 - pydantic collects ValueError
    return tuple(
        item for entry in value for item in (entry.items() if isinstance(entry, dict) else [entry])
    )


def _check_descriptor(value: str, info: ValidationInfo) -> str:
    if value == "reflection":
        return value
    if value.startswith("module:"):
        _check_module(value.removeprefix("module:"))
        return value
    return str(_beside_the_file(Path(value), info))


def _check_module(name: str) -> None:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    except Exception as error:
        # Looking into a package imports it, and that may fail in any way.
        raise ValueError(f"module {name!r} cannot be imported: {error}") from error
    if found is None:
        raise ValueError(f"there is no installed module {name!r}")


def _check_metadata_key(key: str) -> str:
    if not _METADATA_KEY.match(key) or key.startswith("grpc-") or key.endswith("-bin"):
        raise ValueError(
            f"{key!r} is no metadata key: lower case letters, digits and _ . - are allowed,"
            " neither grpc- in front nor -bin at the end"
        )
    return key


def _check_metadata_value(text: str) -> str:
    if not _METADATA_VALUE.match(text):
        raise ValueError("the value has characters that are not printable ASCII")
    return text


def _check_method_pattern(pattern: str) -> str:
    if not _METHOD_PATTERN.match(pattern):
        raise ValueError(
            f"{pattern!r} is no pattern of methods, such as"
            ' "acme.v1.Databases/GetDatabase" or "*/Delete*"'
        )
    return pattern


def _check_progress_field(text: str) -> str:
    if not _PROGRESS_FIELD.match(text):
        raise ValueError(
            f'{text!r} is neither a path of fields, such as "job.percent_done",'
            ' nor two of them, such as "job.rows_done/job.rows"'
        )
    return text


ProgressField = Annotated[str, AfterValidator(_check_progress_field)]
MethodPattern = Annotated[str, AfterValidator(_check_method_pattern)]
Operations = Annotated[
    tuple[Annotated[NameMapping, PlainValidator(_mapping)], ...], BeforeValidator(_entries)
]
DescriptorNames = tuple[Annotated[str, AfterValidator(_check_descriptor)], ...]
CallMetadata = dict[
    Annotated[str, AfterValidator(_check_metadata_key)],
    Annotated[str, AfterValidator(_check_metadata_value)],
]


class HintsConfig(_Model):
    """What a method does to the world, where its name does not tell."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None


class BackendConfig(_Model):
    """One `[[backends]]` entry."""

    name: Annotated[str, AfterValidator(_check_name)]
    target: Annotated[str, AfterValidator(_check_target)]
    operations: Operations = ()
    descriptors: DescriptorNames = ("reflection",)
    list_name: Literal["parent", "collection"] = "parent"
    default_parent: str = ""
    max_page_size: int = Field(default=1000, ge=1, le=2**31 - 1, strict=True)
    deadline: PositiveDuration = timedelta(seconds=10)
    keepalive: PositiveDuration = timedelta(seconds=60)
    methods: tuple[MethodPattern, ...] = ()
    exclude_methods: tuple[MethodPattern, ...] = ()
    confirm: tuple[MethodPattern, ...] = ()
    hints: dict[MethodPattern, HintsConfig] = Field(default_factory=dict)
    poll_intervals: tuple[PositiveDuration, PositiveDuration, PositiveDuration] = (
        timedelta(seconds=1),
        timedelta(seconds=5),
        timedelta(seconds=30),
    )
    polls_per_second: float = Field(default=100.0, gt=0, le=10_000)
    freshness: ShortDuration = timedelta(milliseconds=200)
    progress_fields: tuple[ProgressField, ...] = ()
    descriptor_refresh: PositiveDuration = timedelta(minutes=5)
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=2**31 - 1, strict=True)
    metadata: CallMetadata = Field(default_factory=dict)
    tls: TlsConfig | None = None


class ServerConfig(_Model):
    """The `[server]` table: where the gateway listens, and whom it answers."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535, strict=True)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, strict=True)
    sync_grace: ShortDuration = timedelta(seconds=1)
    keys: tuple[Key, ...] = ()

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

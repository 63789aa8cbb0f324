"""The types of the configuration's values. Each type refuses wrong values with an error text."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from google.protobuf.duration_pb2 import Duration
from pydantic import AfterValidator, BeforeValidator, PlainValidator, SecretBytes, ValidationInfo

from lro_gateway.operations.names import NameMapping
from lro_gateway.sealing import MIN_KEY

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_METADATA_KEY: Final = re.compile(r"[0-9a-z_.-]+\Z")
_METADATA_VALUE: Final = re.compile(r"[\x20-\x7e]*\Z")
_METHOD_PATTERN: Final = re.compile(r"(?=.*[/*])[A-Za-z0-9_./*?\[\]!-]+\Z")
_PROGRESS_FIELD: Final = re.compile(r"[a-z_][a-z0-9_.]*(?:/[a-z_][a-z0-9_.]*)?\Z", re.IGNORECASE)
_LONGEST: Final = timedelta(hours=1)
_LONGEST_GRACE: Final = timedelta(seconds=30)


def _parse_duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    duration = Duration()
    try:
        if not isinstance(value, str):
            raise ValueError  # noqa: TRY004, TRY301 - other types get the text of a malformed string
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


def _existing_file(value: Path, info: ValidationInfo) -> Path:
    """Resolve a path against the directory of the configuration file. The file must exist."""
    base: Path = (info.context or {}).get("base", Path())
    path = base / value
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def _read_key(value: object, info: ValidationInfo) -> object:
    """Read a key from a file or, for `env:NAME`, from the environment.

    No error text holds a part of the key.
    """
    if not isinstance(value, str):
        return value
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        text = os.environ.get(name)
        if text is None:
            raise ValueError(f"the environment has no variable {name!r}")
    else:
        file = _existing_file(Path(value), info)
        try:
            text = file.read_text("ascii")
        except (OSError, UnicodeDecodeError):
            raise ValueError(f"{file} cannot be read, or is not base64") from None
    try:
        key = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the content of {value} is not base64") from None
    if len(key) < MIN_KEY:
        raise ValueError(
            f"the key in {value} has {len(key)} bytes; at least {MIN_KEY} random bytes are needed,"
            f" such as the output of `openssl rand -base64 {MIN_KEY}`"
        )
    return key


Key = Annotated[SecretBytes, BeforeValidator(_read_key)]
ExistingFile = Annotated[Path, AfterValidator(_existing_file)]


def _check_name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(
            "a name has 1 to 128 letters, digits and . _ : -, and begins with a letter or digit"
        )
    return value


def _check_target(value: str) -> str:
    if value.startswith(("http://", "https://")) or value.split() != [value]:
        raise ValueError("HOST:PORT is needed, without http:// or https://; set tls = {} for TLS")
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
            raise ValueError("this is neither a pattern nor a pair of patterns")


def _entries(value: object) -> object:
    """Return the patterns and pairs as one tuple, so that pydantic reports each mistake."""
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
    return str(_existing_file(Path(value), info))


def _check_module(name: str) -> None:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    except Exception as error:
        # find_spec imports the parent package, and that import can raise any exception.
        raise ValueError(f"module {name!r} cannot be imported: {error}") from error
    if found is None:
        raise ValueError(f"there is no installed module {name!r}")


def _check_metadata_key(key: str) -> str:
    if not _METADATA_KEY.match(key) or key.startswith("grpc-") or key.endswith("-bin"):
        raise ValueError(
            f"{key!r} is not a metadata key: lower case letters, digits and _ . - are allowed;"
            " a key cannot begin with grpc- or end with -bin"
        )
    return key


def _check_metadata_value(text: str) -> str:
    if not _METADATA_VALUE.match(text):
        raise ValueError("the value has characters that are not printable ASCII")
    return text


def _check_method_pattern(pattern: str) -> str:
    if not _METHOD_PATTERN.match(pattern):
        raise ValueError(
            f"{pattern!r} is not a pattern of methods; examples are"
            ' "acme.v1.Databases/GetDatabase" and "*/Delete*"'
        )
    return pattern


def _check_progress_field(text: str) -> str:
    if not _PROGRESS_FIELD.match(text):
        raise ValueError(
            f'{text!r} is neither one path of fields, such as "job.percent_done",'
            ' nor two paths, such as "job.rows_done/job.rows"'
        )
    return text


Name = Annotated[str, AfterValidator(_check_name)]
Target = Annotated[str, AfterValidator(_check_target)]
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

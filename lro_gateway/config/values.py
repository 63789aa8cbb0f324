"""The types of the configuration's values. Each type refuses wrong values with an error text."""

from __future__ import annotations

import difflib
import importlib.util
import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import durationpy
from pydantic import AfterValidator, BeforeValidator, PlainValidator, ValidationInfo

from lro_gateway.config.targets import MAX_NAME, checked_target
from lro_gateway.operations.names import NameMapping
from lro_gateway.service.waiting import MAX_WAIT

_MAX_DESCRIPTION: Final = 200
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:-]{{0,{MAX_NAME - 1}}}\Z")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]*\Z")
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?")
_METHOD_PATTERN: Final = re.compile(r"(?=.*[/*])[A-Za-z0-9_./*?\[\]!-]+\Z")
_PROGRESS_FIELD: Final = re.compile(r"[a-z_][a-z0-9_.]*(?:/[a-z_][a-z0-9_.]*)?\Z", re.IGNORECASE)
_BAGGAGE_KEY: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_REFLECTION: Final = "reflection"
_LONGEST: Final = timedelta(hours=1)
_LONGEST_GRACE: Final = timedelta(seconds=30)
_LONGEST_APPROVAL: Final = timedelta(days=30)
_OPERATIONS: Final = "google.longrunning.Operations/"


def parse_duration(value: object) -> timedelta:
    """Return the duration that a text such as `10s` or `1h30m` means."""
    if isinstance(value, timedelta):
        return value
    text = str(value)
    if _NUMBER.fullmatch(text):
        raise ValueError(f'the unit is missing: write "{text}s" for seconds')
    try:
        duration: timedelta = durationpy.from_str(text)
    except durationpy.DurationError:
        raise ValueError(
            'a duration is needed, such as "10s", "0.5s", "500ms", "10m" or "1h30m"'
        ) from None
    return duration


def _positive(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= _LONGEST:
        raise ValueError("must be more than 0s and at most 1h")
    return value


def _short(value: timedelta) -> timedelta:
    if not timedelta(0) <= value <= _LONGEST_GRACE:
        raise ValueError("must be at least 0s and at most 30s")
    return value


def _wait(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= MAX_WAIT:
        raise ValueError(f"must be more than 0s and at most {MAX_WAIT.seconds}s")
    return value


def _expected(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= timedelta(days=365):
        raise ValueError("must be at least 1s and at most 365d")
    return value


PositiveDuration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_positive)]
ShortDuration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_short)]
WaitDuration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_wait)]
ExpectedTime = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_expected)]


def relative_to_base(path: str | Path, info: ValidationInfo) -> Path:
    """Resolve a path against the directory of the configuration file."""
    base: Path = (info.context or {}).get("base", Path())
    return base / path


def existing_file(value: Path, info: ValidationInfo) -> Path:
    """Resolve a path against the directory of the configuration file. The file must exist."""
    if value == Path():
        raise ValueError("the path of a file is needed")
    path = relative_to_base(value, info)
    try:
        found = path.is_file()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if not found:
        raise ValueError(f"there is no file {path}")
    return path


ExistingFile = Annotated[Path, AfterValidator(existing_file)]


def _check_name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(
            "a name has 1 to 128 letters, digits and . _ : -, and begins with a letter or digit"
        )
    return value


def _check_description(value: str) -> str:
    if len(value) > _MAX_DESCRIPTION or not value.isprintable():
        raise ValueError(f"a description is one line of at most {_MAX_DESCRIPTION} characters")
    return value.strip()


def _check_target(value: str, info: ValidationInfo) -> str:
    return checked_target(value, relative_to_base("", info))


def _check_host(value: str) -> str:
    host = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if "://" in value or ":" in value:
        raise ValueError(f"{value!r} is not an address alone; the port is a setting of its own")
    if not _HOST.match(value):
        raise ValueError(
            f"{value!r} is neither an address nor a host name; examples are"
            ' "127.0.0.1", "::1", and "0.0.0.0" for all addresses of this machine'
        )
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
    if value == _REFLECTION:
        return value
    if value.startswith("module:"):
        _check_module(value.removeprefix("module:"))
        return value
    if difflib.get_close_matches(value.lower(), [_REFLECTION], cutoff=0.8):
        raise ValueError(f'there is no source {value!r}; did you mean "{_REFLECTION}"?')
    return str(existing_file(Path(value), info))


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


def _check_method_pattern(pattern: str) -> str:
    if not _METHOD_PATTERN.match(pattern):
        raise ValueError(
            f"{pattern!r} is not a pattern of methods; examples are"
            ' "acme.v1.Databases/GetDatabase" and "*/Delete*"'
        )
    return pattern


def _check_baggage_key(value: str) -> str:
    if not _BAGGAGE_KEY.match(value):
        raise ValueError('must be a key of W3C baggage, such as "tenant"')
    return value


def _approval_patterns(value: object) -> object:
    """Return the pattern of all methods for the text `required`."""
    return ("*",) if value == "required" else value


def _of_methods(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for each in patterns:
        if each.startswith(_OPERATIONS):
            raise ValueError(f"{each!r} matches no method of a service; for this, use confirm")
    return patterns


def _approval_lifetime(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= _LONGEST_APPROVAL:
        raise ValueError("must be more than 0s and at most 720h")
    return value


def _check_progress_field(text: str) -> str:
    if not _PROGRESS_FIELD.match(text):
        raise ValueError(
            f'{text!r} is neither one path of fields, such as "job.percent_done",'
            ' nor two paths, such as "job.rows_done/job.rows"'
        )
    return text


Name = Annotated[str, AfterValidator(_check_name)]
Description = Annotated[str, AfterValidator(_check_description)]
Target = Annotated[str, AfterValidator(_check_target)]
Host = Annotated[str, AfterValidator(_check_host)]
BaggageKey = Annotated[str, AfterValidator(_check_baggage_key)]
ProgressField = Annotated[str, AfterValidator(_check_progress_field)]
MethodPattern = Annotated[str, AfterValidator(_check_method_pattern)]
Approval = Annotated[
    tuple[MethodPattern, ...], BeforeValidator(_approval_patterns), AfterValidator(_of_methods)
]
"""The methods whose calls need an approval, or "required" for all of them."""
ApprovalLifetime = Annotated[
    timedelta, BeforeValidator(parse_duration), AfterValidator(_approval_lifetime)
]
Operations = Annotated[
    tuple[Annotated[NameMapping, PlainValidator(_mapping)], ...], BeforeValidator(_entries)
]
DescriptorNames = tuple[Annotated[str, AfterValidator(_check_descriptor)], ...]

"""The parts of a REST request: the resource in its path, its parameters and its body."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

import orjson
from pydantic.alias_generators import to_snake
from starlette.requests import Request

from lro_gateway.descriptors.field_paths import BOOLEANS
from lro_gateway.descriptors.http_body import body_json
from lro_gateway.descriptors.printing import DEFAULT_OPTIONS, JsonOptions
from lro_gateway.descriptors.scalars import shown
from lro_gateway.descriptors.selection import Selection, parse_fields
from lro_gateway.errors import Code, invalid_argument, quote, status_error
from lro_gateway.service.beginnings import Beginnings
from lro_gateway.service.idempotency import malformed_key
from lro_gateway.service.verb_requests import unknown_argument

NAME_IN_FIELD: Final = "-"
"""A path with this in place of a name takes the name from the field `name`.

Such a path can name every operation. A path with the name itself cannot, because clients and
proxies remove double slashes and dot segments from paths, and limit their length.
"""

CONFIRMED_HEADER: Final = "lro-gateway-confirmed"
"""The header that a caller sets to `true` if a person has agreed to the call."""

IDEMPOTENCY_KEY_HEADER: Final = "idempotency-key"
"""The header with the idempotency key of a start (draft-ietf-httpapi-idempotency-key-header)."""

SYSTEM: Final = ("fields", "prettyPrint", "alt")
"""The system parameters that choose the form of the response."""

SUMMARY: Final = "summary"
"""The parameter that adds a summary to each operation in a response."""

_STRING: Final = r'"((?:[ !#-[\]-~]|\\["\\])*)"'
_QUOTED: Final = re.compile(
    rf"{_STRING}(?:; *[a-z*][a-z0-9_.*-]*(?:=(?:{_STRING}|[!#-+\--:<-~]+))?)*\Z"
)
"""An Item of Structured Fields that is a String, whose parameters mean nothing (RFC 9651)."""
_ESCAPED_SLASH: Final = re.compile(rb"%2[fF]")
_IGNORED: Final = frozenset(
    {
        *("key", "access_token", "oauth_token", "quotaUser", "userIp", "callback"),
        *("uploadType", "upload_protocol"),
    }
)
"""System parameters without a meaning here. They may begin with `$`."""
_IGNORED_WITH_DOLLAR: Final = frozenset(
    {"$.xgafv", "$trace", "$userProject", "$unique", "$outputDefaults", "$ignoreDefaults"}
)
"""System parameters without a meaning here that always begin with `$`."""
_BOOLEANS: Final = frozenset({"returnPartialSuccess", "return_partial_success", SUMMARY})


_NOTHING_BEGUN: Final = Beginnings()


@dataclass(frozen=True, slots=True)
class Presentation:
    """The form of a response, chosen by the system parameters alt, prettyPrint and fields.

    If `summary` is true, each operation has its summary beside its own fields. `beginnings` has
    what the gateway adds to it.
    """

    options: JsonOptions = DEFAULT_OPTIONS
    pretty: bool = True
    fields: Selection = field(default_factory=dict)
    summary: bool = False
    beginnings: Beginnings = _NOTHING_BEGUN


def resource_path(request: Request) -> str:
    """Return the path after the version prefix. Decode its percent-encoding, but not `%2F`.

    http.proto defines this decoding for `{var=**}`. If the path has no slash, the client has
    encoded the whole path, so decode `%2F` too. Raises INVALID_ARGUMENT if the path is not UTF-8.
    """
    raw: bytes = request.scope["raw_path"]
    path = raw.partition(b"?")[0].split(b"/", 2)[2]
    if b"%" in path:
        kept = _ESCAPED_SLASH.sub(b"%252F", path) if b"/" in path else path
        path = unquote_to_bytes(kept)
    try:
        return path.decode()
    except UnicodeDecodeError:
        raise invalid_argument("name", "the path is not UTF-8", "INVALID_NAME") from None


def query_parameters(request: Request) -> tuple[dict[str, Any], Presentation]:
    """Return the fields that the query gives, and the form of the response.

    Raises INVALID_ARGUMENT if a parameter is given twice or has an invalid value.
    """
    arguments: dict[str, Any] = {}
    pairs, presentation = split_query(request)
    for name, value in pairs:
        if name in arguments:
            raise invalid_argument(name, "is given twice; give it once")
        arguments[name] = _boolean(name, value) if name in _BOOLEANS else value
    if arguments.pop(SUMMARY, False):
        presentation = replace(presentation, summary=True)
    return arguments, presentation


def own_parameters(request: Request, known: Iterable[str]) -> tuple[dict[str, str], Presentation]:
    """Return the parameters of a route that is the gateway's own, and the form of the response.

    `known` has their names in camelCase. The query may have them in snake_case too. Raises
    INVALID_ARGUMENT for another parameter, and for one that is given twice.
    """
    names = tuple(known)
    by_spelling = {spelt: name for name in names for spelt in (name, to_snake(name))}
    found: dict[str, str] = {}
    pairs, presentation = split_query(request)
    for spelt, value in pairs:
        name = by_spelling.get(spelt)
        if name is None:
            raise unknown_argument(spelt, [*names, *SYSTEM])
        if name in found:
            raise invalid_argument(spelt, "is given twice; give it once")
        found[name] = value
    return found, presentation


def is_confirmed(request: Request) -> bool:
    """Return whether the caller declares, by the header, that a person has agreed to the call.

    Raises INVALID_ARGUMENT for a value that is neither true nor false.
    """
    value = request.headers.get(CONFIRMED_HEADER, "").strip().lower()
    if value not in {"", "true", "false"}:
        raise invalid_argument(CONFIRMED_HEADER, f"true or false is needed, not {quote(value)}")
    return value == "true"


def idempotency_key(request: Request) -> str | None:
    """Return the idempotency key of a request, or None if it has none.

    The draft has quotes around the key, and many clients send it without. Both mean the same key.
    Raises INVALID_ARGUMENT if there are several keys, or if the quotes are wrong.
    """
    values = request.headers.getlist(IDEMPOTENCY_KEY_HEADER)
    if not values:
        return None
    if len(values) > 1:
        raise malformed_key("the header is there twice")
    value = values[0].strip()
    if not value.startswith('"') or not (value.isascii() and value.isprintable()):
        return value  # a character that no key may have is named where keys are checked
    quoted = _QUOTED.match(value)
    if quoted is None:
        raise malformed_key("the quotes must enclose the whole key")
    return re.sub(r"\\(.)", r"\1", quoted[1])


def split_query(
    request: Request, is_field: Callable[[str], bool] = lambda _: False, *, is_raw: bool = False
) -> tuple[list[tuple[str, str]], Presentation]:
    """Return the query's parameters except the system parameters, and the form of the response.

    `is_field` tells whether the request message has a field with a given name. For example, if the
    message has a field `alt`, then the parameter `alt` sets that field, and `$alt` is the system
    parameter. If `is_raw` is true, the response is not JSON and has one form, so the values of the
    system parameters have no effect.
    """
    query = request.scope["query_string"]
    if not query:
        return [], DEFAULT_FORM
    system: dict[str, str] = {}
    fields: list[tuple[str, str]] = []
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise invalid_argument("", "the query is not percent-encoded UTF-8") from None
    for name, value in pairs:
        bare = name.removeprefix("$")
        is_system = bare in SYSTEM or bare in _IGNORED or name in _IGNORED_WITH_DOLLAR
        if not is_system or is_field(name):
            fields.append((name, value))
        elif bare in SYSTEM:
            system[bare] = value
    return fields, _presentation(system) if system and not is_raw else DEFAULT_FORM


DEFAULT_FORM: Final = Presentation()
"""The form of a response whose query has no system parameter; always this object."""


def _presentation(system: Mapping[str, str]) -> Presentation:
    return Presentation(
        options=_alt(system.get("alt", "json")),
        pretty=_boolean("prettyPrint", system.get("prettyPrint", "true")),
        fields=parse_fields(system["fields"]) if system.get("fields") else {},
    )


def _alt(value: str) -> JsonOptions:
    form, *settings = [part.strip() for part in value.split(";")]
    if form != "json" or not set(settings) <= {"enum-encoding=int", "enum-encoding=string"}:
        problem = f"{quote(value)} is not supported; use json or json;enum-encoding=int"
        raise invalid_argument("alt", problem)
    return JsonOptions(enum_numbers="enum-encoding=int" in settings)


def _boolean(name: str, value: str) -> bool:
    try:
        return BOOLEANS[value.lower()]
    except KeyError:
        problem = f"true or false is needed, not {quote(value)}"
        raise invalid_argument(name, problem) from None


async def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body; an empty body is an empty object.

    Raises INVALID_ARGUMENT if the body is anything else. The header Content-Type is ignored.
    """
    body = await json_value(request)
    if body is None and not (await request.body()).strip():
        return {}
    if not isinstance(body, dict):
        problem = f"the body is not a JSON object, but {shown(body)}"
        raise status_error(Code.INVALID_ARGUMENT, problem, "INVALID_JSON")
    return body


async def json_value(request: Request) -> Any:
    """Return the JSON in the body, or None if the body is empty.

    Raises INVALID_ARGUMENT if the body is not JSON.
    """
    content = await request.body()
    if not content.strip():
        return None
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        _check_encoding(request)
        raise status_error(
            Code.INVALID_ARGUMENT, f"the body is not JSON: {error}", "INVALID_JSON"
        ) from None
    # orjson does not tell whether a key is given twice, and would silently keep the last value.
    # Texts in place of numbers and a nesting that is too deep are harmless here.
    with suppress(RecursionError):
        _DUPLICATES.decode(content.decode())
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise invalid_argument(quote(twice), "is given twice in one object", "INVALID_JSON")


_DUPLICATES: Final = json.JSONDecoder(object_pairs_hook=_distinct, parse_int=str, parse_float=str)
"""Raises INVALID_ARGUMENT for a key that is given twice. Its result is not used."""


def _check_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "")
    if encoding.lower() not in {"", "identity"}:
        problem = f"the gateway cannot decode {quote(encoding)}; send the body without an encoding"
        raise invalid_argument("content-encoding", problem)


async def raw_value(request: Request) -> dict[str, Any]:
    """Return the body, which may be of any content type, as the ProtoJSON of an HttpBody.

    Raises INVALID_ARGUMENT if the body is encoded, for example by gzip.
    """
    _check_encoding(request)
    return body_json(request.headers.get("content-type", ""), await request.body())


def merged(path_name: str, *sources: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the name in the path, the fields of the query and the fields of the body.

    If the path has `-` in place of the name, the field `name` gives the name. Raises
    INVALID_ARGUMENT if a field is given twice with different values.
    """
    by_field = path_name == NAME_IN_FIELD and any("name" in source for source in sources)
    arguments: dict[str, Any] = {} if by_field else {"name": path_name}
    for source in sources:
        for name, value in source.items():
            if arguments.setdefault(name, value) != value:
                raise invalid_argument(name, "is given twice with different values; give it once")
    return arguments

"""The parameters of the methods of MCP Events."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final, TypeVar

import mcp_types as types
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from lro_gateway.descriptors.scalars import shown
from lro_gateway.errors import invalid_argument
from lro_gateway.records.event_entries import Selection
from lro_gateway.service.verb_requests import unknown_argument

_ARGUMENTS: Final = ("operation", "backend", "method", "mine", "states")
_LONGEST: Final = 2048

_MOST_MS: Final = 10**12

Milliseconds = Annotated[int, Field(ge=0)]


class Params(types.RequestParams):
    """The parameters of a request, of any form."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)


class SelectingParams(types.RequestParams):
    """The parameters that select events."""

    name: str = ""
    arguments: dict[str, Any] | None = None


class PollParams(SelectingParams):
    """The parameters of events/poll."""

    cursor: str | None = None
    max_age_ms: Milliseconds | None = None
    max_events: Annotated[int, Field(ge=1)] | None = None


class StreamParams(SelectingParams):
    """The parameters of events/stream."""

    cursor: str | None = None
    max_age_ms: Milliseconds | None = None


class _Webhook(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, hide_input_in_errors=True)

    # Missing arguments are refused with an error that names them.
    mode: str = "webhook"
    url: str = ""


class _NewWebhook(_Webhook):
    secret: SecretStr | None = None


class SubscribeParams(SelectingParams):
    """The parameters of events/subscribe."""

    delivery: _NewWebhook = Field(default_factory=_NewWebhook)
    cursor: str | None = None
    max_age_ms: Milliseconds | None = None
    ttl_ms: int | None = None


class UnsubscribeParams(SelectingParams):
    """The parameters of events/unsubscribe."""

    delivery: _Webhook = Field(default_factory=_Webhook)


P = TypeVar("P", bound=SelectingParams)


def parsed(model: type[P], params: Params) -> P:
    """Return the parameters of a method. Raises INVALID_ARGUMENT, which names a wrong one."""
    try:
        return model.model_validate(params.model_dump(by_alias=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(each) for each in first["loc"])
        text = first["msg"].replace("valid dictionary", "JSON object")
        problem = f"{text[:1].lower()}{text[1:]}"
        raise invalid_argument(field, problem) from None


def selection_of(name: str, arguments: dict[str, Any]) -> Selection:
    """Return the selection of a request, with names as the client writes them.

    Raises INVALID_ARGUMENT for a wrong argument.
    """
    for key in arguments:
        if key not in _ARGUMENTS:
            raise unknown_argument(key, _ARGUMENTS)
    return Selection(
        (name,),
        _text(arguments, "backend"),
        _text(arguments, "operation"),
        _text(arguments, "method"),
        _states(arguments),
        _flag(arguments, "mine"),
    )


def age(milliseconds: int) -> timedelta:
    """Return a duration of a request, which is at most 31 years."""
    return timedelta(milliseconds=min(milliseconds, _MOST_MS))


def max_age(params: PollParams | StreamParams | SubscribeParams) -> timedelta | None:
    """Return the greatest age of past events that a client wants, or None for all of them."""
    return None if params.max_age_ms is None else age(params.max_age_ms)


def _text(arguments: dict[str, Any], key: str) -> str:
    value = arguments.get(key, "")
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise invalid_argument(key, f"a text is needed, not {shown(value)}")
    return value


def _flag(arguments: dict[str, Any], key: str) -> bool:
    value = arguments.get(key, False)
    if not isinstance(value, bool):
        raise invalid_argument(key, f"true or false is needed, not {shown(value)}")
    return value


def _states(arguments: dict[str, Any]) -> tuple[str, ...]:
    value = arguments.get("states", [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise invalid_argument("states", f"a list of texts is needed, not {shown(value)}")
    return tuple(dict.fromkeys(value))

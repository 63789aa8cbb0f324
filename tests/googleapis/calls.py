"""Calls of published methods, made as Google's generated clients make them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
from google.api import annotations_pb2
from google.api_core import path_template, rest_helpers
from google.protobuf.descriptor import MethodDescriptor

from lro_gateway.descriptors.message_types import class_of
from tests.googleapis.filling import Filling

OPERATION: Final = "google.longrunning.Operation"
_VARIABLE: Final = re.compile(r"\{([\w.]+)(?:=([^}]+))?\}")


@dataclass(frozen=True)
class Binding:
    """One HTTP rule of a method."""

    verb: str
    template: str
    body: str

    @property
    def shape(self) -> tuple[str, str]:
        """The verb and the template without the names of its variables."""
        return self.verb, _VARIABLE.sub(lambda found: found[2] or "*", self.template)


def path_of(method: MethodDescriptor) -> str:
    """Return `pkg.Service/Method`."""
    return f"{method.containing_service.full_name}/{method.name}"


def is_long_running(method: MethodDescriptor) -> bool:
    """Return whether a method starts an operation."""
    return bool(method.output_type.full_name == OPERATION)


def default_binding(method: MethodDescriptor) -> Binding:
    """Return the rule that the gateway adds to each method."""
    return Binding("POST", f"/v1/{path_of(method)}", "*")


def bindings(method: MethodDescriptor) -> Iterator[Binding]:
    """Yield the HTTP rules of a method."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    for each in (rule, *rule.additional_bindings):
        if (kind := each.WhichOneof("pattern")) == "custom":
            yield Binding(each.custom.kind, each.custom.path, each.body)
        elif kind is not None:
            yield Binding(kind.upper(), getattr(each, kind), each.body)


def request_of(method: MethodDescriptor, binding: Binding | None = None) -> Any:
    """Return a request with a value in each field that a rule can send, or in each field."""
    filling = Filling(f"{path_of(method)} {binding}")
    request: Any = class_of(method.input_type)()
    for field in request.DESCRIPTOR.fields:
        in_query = binding is not None and binding.body not in ("*", field.name)
        filling.fill_field(request, field, in_query=in_query)
    for name, pattern in _VARIABLE.findall(binding.template) if binding else ():
        *path, last = name.split(".")
        holder = request
        for each in path:
            holder = getattr(holder, each)
        is_text = isinstance(getattr(holder, last), str)
        setattr(holder, last, filling.path_value(pattern or "*") if is_text else 7)
    return request


def http_request(base_url: str, binding: Binding, request: Any, *, numbers: bool) -> httpx.Request:
    """Return the HTTP request of Google's generated clients, whose enum values may be `numbers`."""
    option = {"method": binding.verb.lower(), "uri": binding.template, "body": binding.body}
    transcoded, body, query = rest_helpers.transcode_request(
        [option], request, rest_numeric_enums=numbers
    )
    return httpx.Request(
        binding.verb,
        base_url + transcoded["uri"],
        params=rest_helpers.flatten_query_params(query, strict=True),  # type: ignore[no-untyped-call]  # published without types
        content=body,
        headers={"content-type": "application/json"},
    )


def accepts(binding: Binding, verb: str, path: str) -> bool:
    """Return whether the path of a request matches a rule, as Google's clients check it."""
    matches: bool = path_template.validate(binding.template, path)  # type: ignore[no-untyped-call]  # published without types
    return binding.verb == verb and matches

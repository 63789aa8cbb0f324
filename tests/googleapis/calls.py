"""Calls of published methods, made as Google's generated clients make them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
from google.api import annotations_pb2
from google.api_core import rest_helpers
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor

from lro_gateway.descriptors.http_templates import PathTemplate
from lro_gateway.descriptors.message_types import class_of
from tests.googleapis.filling import Filling
from tests.templates import match

OPERATION: Final = "google.longrunning.Operation"
_VARIABLE: Final = re.compile(r"\{([\w.]+)(?:=([^}]+))?\}")


@dataclass(frozen=True)
class Binding:
    """One HTTP rule of a method, or the default rule, which the gateway adds to each method."""

    verb: str
    template: str
    body: str
    is_default: bool = False

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
    return Binding("POST", f"/v1/{path_of(method)}", "*", is_default=True)


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
    """Return the HTTP request of Google's generated clients, whose enum values may be `numbers`.

    By the default rule, return the request with the JSON of grpcurl.
    """
    if binding.is_default:
        content = json_format.MessageToJson(request, preserving_proto_field_name=True)
        return httpx.Request(binding.verb, base_url + binding.template, content=content)
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


def accepts(binding: Binding, request: httpx.Request) -> bool:
    """Return whether a rule accepts the verb and the path of a request, which another rule made."""
    template = PathTemplate.parse(binding.template)
    return (
        binding.verb == request.method
        and match(template, request.url.raw_path.partition(b"?")[0]) is not None
    )


def takes_raw_bytes(method: MethodDescriptor) -> bool:
    """Return whether the HTTP body of a call is no JSON, since the request has an HttpBody."""
    request = method.input_type
    inner = [field.message_type for field in request.fields if field.message_type]
    return any(each.full_name == "google.api.HttpBody" for each in (request, *inner))

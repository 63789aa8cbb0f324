"""The unary RPCs of a backend, as its descriptors describe them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from google.api import annotations_pb2, http_pb2
from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from lro_gateway.descriptors.http_rules import (
    HttpBinding,
    HttpRule,
    PathField,
    WrongRule,
    parse_rule,
)
from lro_gateway.descriptors.request_ids import optional_request_id

OPERATION: Final = "google.longrunning.Operation"

_WORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+")


def snake_words(name: str) -> tuple[str, ...]:
    """Return the words of a CamelCase name in lower case.

    For example, `ExportQueryV2` becomes `("export", "query", "v2")`.
    """
    return tuple(word.lower() for word in _WORD.findall(name))


@dataclass(frozen=True)
class Method:
    """A unary RPC of a backend's service.

    `response_type` and `metadata_type` are the full message names in `operation_info`. A name
    that `operation_info` lacks is empty (AIP-151, AIP-4210).
    """

    full_name: str
    request: Descriptor = field(repr=False, compare=False)
    response: Descriptor = field(repr=False, compare=False)
    response_type: str = ""
    metadata_type: str = ""
    bindings: tuple[HttpBinding, ...] = ()
    idempotency_level: int = 0
    deprecated: bool = False

    @property
    def name(self) -> str:
        """The name of the RPC without its service, such as `CreateDatabase`."""
        return self.full_name.rpartition(".")[2]

    @property
    def service(self) -> str:
        """The full name of the service, such as `acme.v1.Databases`."""
        return self.full_name.rpartition(".")[0]

    @property
    def path(self) -> str:
        """The full method name in gRPC's form, such as `acme.v1.Databases/CreateDatabase`."""
        return f"{self.service}/{self.name}"

    @property
    def is_long_running(self) -> bool:
        """Whether the RPC returns a google.longrunning.Operation."""
        return bool(self.response.full_name == OPERATION)

    @cached_property
    def rules(self) -> tuple[HttpRule | WrongRule, ...]:
        """The google.api.http rules in their order, parsed at the first use of this property."""
        return tuple(parse_rule(each, self.request, self.response) for each in self.bindings)

    @property
    def routing_fields(self) -> tuple[PathField, ...]:
        """The fields in the path of the first rule, whose values route a call (AIP-4222)."""
        first = self.rules[0] if self.rules else None
        return first.path_fields if isinstance(first, HttpRule) else ()

    @cached_property
    def idempotency_key(self) -> FieldDescriptor | None:
        """The field `request_id`, which identifies a call (AIP-155). A caller may omit it.

        The value is None if there is no such field, or if the field is in the path of a rule,
        because it then names a resource.
        """
        field = optional_request_id(self.request)
        if field is None:
            return None
        names = {field.name, field.json_name}
        if any(names & set(rule.path_names) for rule in self.rules):
            return None
        # If a template does not parse, its fields are unknown, so search its text for the name.
        wrong = [rule.template for rule in self.rules if isinstance(rule, WrongRule)]
        return None if any(name in template for template in wrong for name in names) else field

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the name in lower case, such as `("create", "database")`."""
        return snake_words(self.name)

    @classmethod
    def of(cls, descriptor: MethodDescriptor) -> Method | None:
        """Return the method of a descriptor, or None if the method is streaming."""
        if descriptor.client_streaming or descriptor.server_streaming:
            return None
        options = descriptor.GetOptions()
        info = options.Extensions[operations_pb2.operation_info]
        package = descriptor.containing_service.file.package
        return cls(
            full_name=descriptor.full_name,
            request=descriptor.input_type,
            response=descriptor.output_type,
            response_type=_qualified(info.response_type, package),
            metadata_type=_qualified(info.metadata_type, package),
            bindings=_bindings(options.Extensions[annotations_pb2.http]),
            idempotency_level=options.idempotency_level,
            deprecated=options.deprecated,
        )


def _qualified(name: str, package: str) -> str:
    """Return the full name of a type in operation_info.

    A name without a dot is in the package of the RPC (AIP-4210).
    """
    if not name or "." in name or not package:
        return name.removeprefix(".")
    return f"{package}.{name}"


def _bindings(rule: Any) -> tuple[HttpBinding, ...]:
    bindings = []
    for each in (rule, *rule.additional_bindings):
        verb, template = _verb(each)
        if verb:
            bindings.append(HttpBinding(verb, template, each.body, each.response_body))
    return tuple(bindings)


def _verb(rule: http_pb2.HttpRule) -> tuple[str, str]:
    kind = rule.WhichOneof("pattern")
    if kind is None:
        return "", ""
    if kind == "custom":
        return rule.custom.kind, rule.custom.path
    return kind.upper(), getattr(rule, kind)

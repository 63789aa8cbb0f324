"""The schemas that an OpenAPI document refers to. Each schema has a unique name.

A message has different fields in a request and in a response, and two backends may have different
messages of the same name. So the gateway collects the schemas in scopes. There is one scope for
each set of types and each use. The schemas get their names when the document is finished, because
equal schemas of two scopes share one name.
"""

from __future__ import annotations

import enum
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lro_gateway.background import Steps
from lro_gateway.descriptors.field_behavior import is_update
from lro_gateway.descriptors.field_names import property_key
from lro_gateway.descriptors.schema import Schema, any_schema, message_schema
from lro_gateway.descriptors.type_set import TypeSet

SCHEMAS: Final = "#/components/schemas/"

_REF: Final = "$ref"
_PAYLOAD: Final = "-any"


class Use(enum.Enum):
    """The use of a schema. The value is the suffix that the component's name has for this use.

    Full names of messages have no hyphens, so no full name ends with one of these suffixes.
    """

    PRINTED = ""
    SENT = "-input"
    SENT_IN_PART = "-update"

    @classmethod
    def of_request(cls, descriptor: Descriptor) -> Use:
        """Return the use of a request's schemas; an update may send only some of the fields."""
        return cls.SENT_IN_PART if is_update(descriptor) else cls.SENT


class Scope:
    """The schemas of one set of types for one use, and all schemas that they refer to.

    Until the document is finished, a reference is `prefix` followed by a full name.
    """

    def __init__(self, use: Use, prefix: str, types: TypeSet) -> None:
        self.use = use
        self.prefix = prefix
        self.definitions: dict[str, Schema] = {}
        self._types = types

    def message(self, descriptor: Descriptor) -> Schema:
        """Return the schema of a message as the root of a request or of a response."""
        return message_schema(
            descriptor,
            descriptions=self._types.comments.by_name,
            ref_prefix=self.prefix,
            definitions=self.definitions,
            for_input=self.use is not Use.PRINTED,
        )

    def reference(self, descriptor: Descriptor) -> Schema:
        """Return a reference to the schema of a message."""
        name = descriptor.full_name
        if name not in self.definitions:
            self.definitions[name] = self.message(descriptor)
        return {_REF: self.prefix + name}

    def payload(self, descriptor: Descriptor) -> Schema:
        """Return a reference to the schema of an Any that holds a message."""
        name = descriptor.full_name + _PAYLOAD
        if name not in self.definitions:
            self.definitions[name] = any_schema(
                descriptor,
                self._types.comments.by_name,
                self.definitions,
                ref_prefix=self.prefix,
            )
        return {_REF: self.prefix + name}

    def key(self, field: FieldDescriptor) -> str:
        """Return the key of a field in the schemas of this scope."""
        return field.json_name if self.use is Use.PRINTED else property_key(field) or field.name

    def target(self, schema: Schema) -> Schema:
        """Return the schema that a reference leads to, with the keys beside the reference added.

        A schema without a reference is returned as it is.
        """
        name = schema.get(_REF)
        if name is None:
            return schema
        beside = {key: value for key, value in schema.items() if key != _REF}
        return {**self.definitions[name.removeprefix(self.prefix)], **beside}


class Components:
    """The schemas of a document: the gateway's own schemas, and the schemas of the scopes."""

    def __init__(self, own: Mapping[str, Schema]) -> None:
        """Take the gateway's own schemas, by the names that they have in the finished document."""
        self._own = own
        self._scopes: dict[tuple[TypeSet, Use], Scope] = {}

    def scope(self, types: TypeSet, use: Use) -> Scope:
        """Return the scope of a set of types and a use; the first call makes it."""
        key = (types, use)
        if key not in self._scopes:
            self._scopes[key] = Scope(use, f"#/{len(self._scopes)}/", types)
        return self._scopes[key]

    def finishing(
        self, paths: Mapping[str, Any]
    ) -> Steps[tuple[dict[str, Any], dict[str, Schema]]]:
        """Return the paths with their final references, and the schemas by their final names.

        A schema of a scope is left out unless the paths refer to it, directly or indirectly.
        """
        names = yield from self._names()
        schemas = dict(self._own)
        definitions = {
            scope.prefix + name: schema
            for scope in self._scopes.values()
            for name, schema in scope.definitions.items()
        }
        finished: dict[str, Any] = {}
        for path, item in paths.items():
            yield
            finished[path] = _renamed(item, names)
            pending = _references(item)
            while pending:
                yield
                reference = pending.pop()
                if reference in names and names[reference] not in schemas:
                    schema = definitions[reference]
                    schemas[names[reference]] = _renamed(schema, names)
                    pending |= _references(schema)
        return finished, dict(sorted(schemas.items()))

    def _names(self) -> Steps[dict[str, str]]:
        """Return the final name of each schema, by the scope's reference to it.

        If different schemas have the same name, the second one's name gets `-2` at its end.
        """
        scopes = [(scope.use, scope.prefix, scope.definitions) for scope in self._scopes.values()]
        scopes.insert(0, (Use.PRINTED, SCHEMAS, dict(self._own)))
        occurrences = Counter(name + use.value for use, _, schemas in scopes for name in schemas)
        known: dict[str, list[bytes]] = {}
        names: dict[str, str] = {}
        for use, prefix, schemas in scopes:
            digests = _Digests(schemas, prefix)
            for name in schemas:
                yield
                full_name = name + use.value
                digest = b""
                if occurrences[full_name] > 1:
                    digest = yield from digests.of(name)
                variants = known.setdefault(full_name, [])
                if digest not in variants:
                    variants.append(digest)
                number = variants.index(digest) + 1
                names[prefix + name] = full_name if number == 1 else f"{full_name}-{number}"
        return {ref: name for ref, name in names.items() if not ref.startswith(SCHEMAS)}


class _Digests:
    """Digests of schemas; two are equal if the schemas and all that they refer to are equal."""

    def __init__(self, schemas: Mapping[str, Schema], prefix: str) -> None:
        self._schemas = schemas
        self._prefix = prefix
        self._own: dict[str, tuple[bytes, Collection[str]]] = {}

    def of(self, name: str) -> Steps[bytes]:
        """Return the digest of a schema."""
        reached: set[str] = set()
        pending = {name}
        while pending:
            yield
            current = pending.pop()
            reached.add(current)
            pending.update(set(self._of_one(current)[1]) - reached)
        whole = hashlib.sha256(name.encode())
        for each in sorted(reached):
            whole.update(self._of_one(each)[0])
        return whole.digest()

    def _of_one(self, name: str) -> tuple[bytes, Collection[str]]:
        if name not in self._own:
            schema = self._schemas[name]
            inner = {ref: ref.removeprefix(self._prefix) for ref in _references(schema)}
            content = orjson.dumps([name, _renamed(schema, inner)], option=orjson.OPT_SORT_KEYS)
            self._own[name] = (hashlib.sha256(content).digest(), inner.values())
        return self._own[name]


def _references(node: Any) -> set[str]:
    if isinstance(node, list):
        return {found for item in node for found in _references(item)}
    if not isinstance(node, dict):
        return set()
    # A property may have the name $ref. Then its value is an object and not a reference.
    own = {node[_REF]} if isinstance(node.get(_REF), str) else set()
    return own | {found for item in node.values() for found in _references(item)}


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """Return a copy with final references. `names` maps each reference to its final name."""
    if isinstance(node, list):
        return [_renamed(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    copied = {key: _renamed(value, names) for key, value in node.items()}
    if isinstance(node.get(_REF), str) and node[_REF] in names:
        copied[_REF] = SCHEMAS + names[node[_REF]]
    return copied

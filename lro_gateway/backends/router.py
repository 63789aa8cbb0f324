"""The router: it finds the backend of an operation's name, and maps names in both directions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lro_gateway.errors import Code, StatusError, invalid_argument, quote, status_error
from lro_gateway.operations.names import (
    BackendName,
    GatewayName,
    NameMapping,
    full_name,
    is_relative,
    one_slash_name,
    overlapping,
    split_full_name,
    validate_backend_name,
    validate_name,
)


@dataclass(frozen=True, slots=True)
class Route:
    """A backend, and a name in that backend's form."""

    backend: str
    name: BackendName


class Router:
    """Finds the backend that owns a name.

    `owned` holds the name patterns of each backend. A name that matches no pattern may belong to
    any backend without patterns. `descriptions` says what the backends are, for callers that must
    choose one. `former` has the names that backends had before, the first one first. They lead to
    the same backends, as names by `former_patterns` lead to the same operations. Raises
    `ValueError` if patterns of two backends overlap.
    """

    def __init__(
        self,
        owned: Mapping[str, tuple[NameMapping, ...]],
        descriptions: Mapping[str, str] | None = None,
        former: Mapping[str, Sequence[str]] | None = None,
        former_patterns: Mapping[str, tuple[NameMapping, ...]] | None = None,
    ) -> None:
        self._owned = dict(owned)
        self._former = former or {}
        self._former_patterns = dict(former_patterns or {})
        self._present = {
            name: backend for backend in owned for name in self._former.get(backend, ())
        }
        self.descriptions: Mapping[str, str] = dict(descriptions or {})
        self._hides = False
        self._shown = tuple(self._owned)
        self._undeclared = tuple(name for name, mappings in self._owned.items() if not mappings)
        for (backend, pattern), (other, other_pattern) in overlapping(self._owned):
            raise ValueError(
                f"{pattern.text!r} of {backend!r} and {other_pattern.text!r} of {other!r} overlap"
            )

    @property
    def backends(self) -> tuple[str, ...]:
        """The names of all backends, in the order of the configuration."""
        return self._shown

    def first_name(self, backend: str) -> str:
        """Return the first name that a backend had, which the digests in the store have."""
        return next(iter(self._former.get(backend, ())), backend)

    def knows(self, backend: str) -> bool:
        """Return whether there is a backend of this name."""
        return backend in self._owned

    def seeing(self, found: Collection[str], shown: Collection[str]) -> Router:
        """Return a router for which only the backends in `found` exist.

        Its texts name only those in `shown`.
        """
        if len(shown) == len(self._owned):
            return self
        owned = {name: each for name, each in self._owned.items() if name in found}
        patterns = {name: each for name, each in self._former_patterns.items() if name in found}
        router = Router(owned, self.descriptions, self._former, patterns)
        router._shown = tuple(name for name in owned if name in shown)
        router._hides = True
        return router

    def find(self, name: str, backend: str = "") -> Route:
        """Return the route of an operation's name in the gateway's form.

        The backend is `backend`, or the one in a full resource name, or the one whose pattern
        matches. A name with a backend may be any text, because backends may give any name. Raises
        INVALID_ARGUMENT for a malformed name without a backend, for an unknown backend, and for a
        name that no backend or several backends may have.
        """
        named, relative, is_full = self._split(name, backend)
        if not named:
            validate_name(relative)
            owners = self._owners(relative)
            if len(owners) != 1:
                raise self._unroutable("name", name, owners)
            return self._within(owners[0], relative)
        validate_backend_name(relative)
        return Route(named, BackendName(relative)) if is_full else self._within(named, relative)

    def find_parents(self, name: str, backend: str = "") -> tuple[Route, ...]:
        """Return a route to each backend that may have operations under a parent or collection.

        The name is in the gateway's form. If the name is empty and no backend is given,
        return a route to every backend, each with an empty name.
        """
        named, relative, is_full = self._split(name, backend)
        if relative:
            (validate_backend_name if named else validate_name)(relative)
        if is_full:
            return (Route(named, BackendName(relative)),)
        candidates = (named,) if named else tuple(self._owned)
        routes = [self._parent_within(candidate, relative) for candidate in candidates]
        declared = [route for route in routes if route and self._owned[route.backend]]
        found = (declared if relative else []) or [route for route in routes if route]
        if named and not found:
            return (Route(named, BackendName(relative)),)
        if not found:
            raise self._unroutable("name", name, ())
        return tuple(found)

    def owners_of_parent(self, name: str) -> tuple[Route, ...]:
        """Return a route to each backend whose patterns allow operations under this resource."""
        routes = [
            self._parent_within(backend, name) for backend, owned in self._owned.items() if owned
        ]
        return tuple(route for route in routes if route)

    def is_declared(self, name: str) -> bool:
        """Return whether a name is a full resource name, or matches a configured pattern."""
        return split_full_name(name)[0] is not None or any(
            mapping.gateway.match(name) is not None
            for mappings in self._owned.values()
            for mapping in mappings
        )

    def owner(self, name: str) -> str | None:
        """Return the one backend that can have an operation of this name, or None."""
        owners = self._owners(name)
        return owners[0] if len(owners) == 1 else None

    def ambiguous(self, name: str) -> tuple[str, ...]:
        """Return the backends that can have an operation of this name if several can, or none."""
        if len(self._undeclared) < 2 or split_full_name(name)[0] is not None:
            return ()
        owners = self._owners(name)
        return owners if len(owners) > 1 else ()

    def unknown(self, argument: str, backend: str) -> StatusError:
        """Return the error for the name of a backend that does not exist."""
        return invalid_argument(
            argument,
            f"there is no backend {quote(backend)}; there are: {self.choices(self.backends)}",
            "UNKNOWN_BACKEND",
            backends=",".join(self.backends),
        )

    def public_name(self, backend: str, name: BackendName) -> GatewayName:
        """Translate an operation's name from the form of `backend` to the gateway's form.

        If the name matches one of the backend's patterns, that pattern translates it. Any other
        name stays unchanged if the name alone identifies the backend. The result is
        `//backend/name` if the name does not, or if it is not a well-formed relative name.
        """
        if not name:
            return GatewayName("")
        for mapping in self._owned[backend]:
            if (public := mapping.to_gateway(name)) is not None:
                return public if is_relative(public) else full_name(backend, name)
        # The name stays unchanged only if `find` returns this backend and this name for it. If not,
        # a caller that sent the unchanged name would get another operation or an error.
        leads_back = (
            is_relative(name)
            and self._owners(name) == (backend,)
            and self._within(backend, name).name == name
        )
        return GatewayName(name) if leads_back else full_name(backend, name)

    def present_name(self, backend: str, name: str) -> GatewayName:
        """Return the name that an operation has now, given the name that the store has.

        The operation had another name if the configuration had other backends then.
        """
        try:
            route = self.find(name, backend)
        except StatusError:
            return GatewayName(name)
        return self.public_name(route.backend, route.name)

    def name_within(self, backend: str, name: GatewayName) -> str:
        """Return the shortest name that leads to an operation if `backend` is given too.

        This is the operation's name without `//backend/`, unless that text leads elsewhere or is
        not a well-formed relative name.
        """
        relative = name.removeprefix(full_name(backend, BackendName("")))
        leads_there = is_relative(relative) and self.find(relative, backend) == self.find(name)
        return relative if leads_there else name

    def public_parent(self, backend: str, name: BackendName) -> GatewayName:
        """Return the gateway's form of a parent or location in the backend's form."""
        for mapping in self._owned[backend]:
            if (public := mapping.parent_to_gateway(name)) is not None:
                return public if not public or is_relative(public) else full_name(backend, name)
        only = len(self._owned) == 1 and backend in self._undeclared
        return GatewayName(name) if only and is_relative(name) else full_name(backend, name)

    def _split(self, name: str, backend: str) -> tuple[str, str, bool]:
        """Return the backend, the rest of the name, and whether the name is a full name.

        The backend is empty if the caller names none.
        """
        backend = self._present.get(backend, backend)
        if backend and not self.knows(backend):
            raise self.unknown("backend", backend)
        named, relative = split_full_name(name)
        named = self._present.get(named, named) if named is not None else None
        if named is None or (backend and named not in self._owned):
            # If the text after the slashes is no backend, the name may be one that the given
            # backend itself made.
            return backend, name, False
        if named not in self._owned:
            raise self.unknown("name", named)
        if backend and named != backend:
            raise invalid_argument(
                "backend",
                f"the name belongs to backend {quote(named)}, not to {quote(backend)}",
                "BACKEND_MISMATCH",
            )
        return named, relative, True

    def _owners(self, name: str) -> tuple[str, ...]:
        """Return the one backend with a matching pattern, or all backends without patterns."""
        for patterns in (self._owned, self._former_patterns):
            for backend, mappings in patterns.items():
                if any(mapping.gateway.match(name) is not None for mapping in mappings):
                    return (backend,)
        return self._undeclared

    def _within(self, backend: str, name: str) -> Route:
        for mapping in (*self._owned[backend], *self._former_patterns.get(backend, ())):
            if (own := mapping.to_backend(name)) is not None:
                return Route(backend, own)
        return Route(backend, BackendName(name))

    def _parent_within(self, backend: str, name: str) -> Route | None:
        if not name or not self._owned[backend]:
            return Route(backend, BackendName(name))
        for mapping in self._owned[backend]:
            for candidate in (name, name.removesuffix("/operations")):
                if (own := mapping.parent_to_backend(candidate)) is not None:
                    return Route(backend, own)
        return None

    def _unroutable(self, argument: str, name: str, owners: tuple[str, ...]) -> StatusError:
        if not self._owned and self._hides:
            return status_error(
                Code.PERMISSION_DENIED, "the policy does not allow you any call", "POLICY_DENIED"
            )
        if not self._owned:
            return status_error(
                Code.FAILED_PRECONDITION,
                "no backend is configured; start the gateway with --backend HOST:PORT",
                "NO_BACKEND",
            )
        choices = [each for each in owners or self.backends if each in self._shown]
        found = "several backends may have" if owners else "no backend's patterns match"
        return invalid_argument(
            argument,
            f"{found} {quote(name)}; there are: {self.choices(choices)}{self._merged(name)}",
            "AMBIGUOUS_NAME" if owners else "UNROUTABLE_NAME",
            backends=",".join(choices),
        )

    def _merged(self, name: str) -> str:
        """Explain a name that may have been `//backend/name` before a proxy merged its slashes."""
        first, slash, _ = name.partition("/")
        if not slash or first not in self._owned:
            return ""
        full, other = full_name(first, BackendName("...")), one_slash_name(first, "...")
        return f"; if a proxy has merged the slashes of {full}, write {other}"

    def choices(self, backends: Iterable[str]) -> str:
        """Return the names of backends with their descriptions, for an error text."""
        named = [
            f"{name} ({description.rstrip('.')})"
            if (description := self.descriptions.get(name))
            else name
            for name in backends
        ]
        return ", ".join(named) or "none"

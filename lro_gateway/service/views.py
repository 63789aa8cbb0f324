"""The backends that exist for a caller."""

from __future__ import annotations

from typing import Final

from cachetools import LRUCache

from lro_gateway.access.policy import Policy, Verb
from lro_gateway.backends.router import Router
from lro_gateway.principal import Principal

_KEPT: Final = 256
"""The number of kept routers. Callers that may use the same backends share one."""


class Views:
    """The router of each caller.

    A router that a caller gets knows only the backends that the caller may use, and finds those too
    that further scopes would open. So the name of any other backend, and each name that only such a
    backend can have, gives the error of a name that does not exist. `whole` is the router of all
    backends, and `policy` decides what the caller may use.
    """

    def __init__(self, router: Router, policy: Policy) -> None:
        self.whole = router
        self.policy = policy
        self._routers: LRUCache[tuple[frozenset[str], frozenset[str]], Router] = LRUCache(_KEPT)

    def router(self, caller: Principal) -> Router:
        """Return the router of the backends that the caller may use."""
        reach = self.policy.reach(caller)
        if reach is None:
            return self.whole
        key = (reach.challenged, reach.shown)
        found = self._routers.get(key)
        if found is None:
            found = self._routers[key] = self.whole.seeing(*key)
        return found

    def backends(self, caller: Principal, verb: Verb | None = None) -> tuple[str, ...]:
        """Return the backends that the caller may use, or may use with a verb, in their order."""
        reach = self.policy.reach(caller)
        if reach is None:
            return self.whole.backends
        usable = reach.backends(verb)
        return tuple(name for name in self.whole.backends if name in usable)

    def may_ever(self, caller: Principal, verb: Verb) -> bool:
        """Return whether the caller may ever use a verb. Without rules none can be explained."""
        reach = self.policy.reach(caller)
        return verb is not Verb.EXPLAIN if reach is None else bool(reach.backends(verb))

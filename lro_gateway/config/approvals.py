"""Makes approvals from the configuration of calls that somebody must approve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from lro_gateway.access.sealing import Sealer
from lro_gateway.background import BackgroundTasks
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.records.entries import now
from lro_gateway.records.opening import Store
from lro_gateway.service.approval_calls import ApprovalCalls, ApprovalParts
from lro_gateway.service.approval_contents import Contents
from lro_gateway.service.approval_rules import ApprovalRules
from lro_gateway.service.approvals import Approvals
from lro_gateway.service.approving import ApprovingService
from lro_gateway.service.service import OperationService


def with_approvals(
    config: GatewayConfig,
    service: OperationService,
    store: Store | None,
    sealer: Sealer,
    tasks: BackgroundTasks,
    *,
    identifies: bool,
) -> OperationService:
    """Return a service whose calls wait for approvals as configured.

    Returns the same service if no method needs an approval, and no call waits or has waited.

    `identifies` tells whether the gateway knows its callers apart. Raises `ConfigError` if such
    calls could never be made.
    """
    if mistakes := [*_mistakes(config, has_store=store is not None, identifies=identifies)]:
        raise ConfigError(mistakes)
    rules = {
        each.name: ApprovalRules(
            each.approval_expires, own=each.self_approval, within_tenant=each.visibility != "all"
        )
        for each in config.backends
    }
    # Calls may still wait that were asked for when their methods needed an approval. Callers that
    # are not known apart must not see what others have asked for.
    has_calls = store is not None and store.has_approvals and identifies
    if store is None or not (has_calls or any(each.approval for each in config.backends)):
        return service
    parts = ApprovalParts(
        *(store.approvals, Contents(sealer), sealer, service.backends, service.policy),
        *(service.audit, now, service.router),
    )
    calls = ApprovalCalls(parts, service.catalog, service.starts)
    approvals = Approvals(parts, rules, calls, service.rates, tasks)
    tasks.start(approvals.run())
    verbs = {each.name: getattr(service, each.name) for each in fields(service)}
    return ApprovingService(**{**verbs, "approvals": approvals})


def _mistakes(config: GatewayConfig, *, has_store: bool, identifies: bool) -> Iterator[str]:
    """Yield why calls of a backend could never be made."""
    for each in config.backends:
        if not each.approval:
            continue
        if not has_store:
            yield (
                f"backend {each.name}: approval needs a store, which keeps the calls that wait;"
                " set store.url"
            )
        if not identifies and not each.self_approval:
            yield (
                f"backend {each.name}: approval needs [auth], because without it all callers are"
                " the same one, and nobody may approve a call of its own; or set self_approval ="
                " true, so that the one who asks may approve"
            )

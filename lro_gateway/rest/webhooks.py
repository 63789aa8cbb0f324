"""The routes of webhooks: `/v1/webhooks`, and `:notify` of an operation."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
)
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from lro_gateway.deliveries.deliveries import Deliveries
from lro_gateway.deliveries.happenings import DONE
from lro_gateway.deliveries.selecting import canonical
from lro_gateway.deliveries.subscribing import WebhookRequest
from lro_gateway.errors import JSON, Code, status_error
from lro_gateway.principal import Principal
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import (
    Delivery,
    DeliveryState,
    Selection,
    Subscription,
    SubscriptionState,
)
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.errors import not_allowed
from lro_gateway.rest.json_route import JsonRoute
from lro_gateway.rest.parameters import merged, resource_path
from lro_gateway.service.page_sizes import ARGUMENT, page_size
from lro_gateway.service.service import OperationService

WEBHOOKS_PATH: Final = "/v1/webhooks"
_NOTIFY: Final = ":notify"
_WEBHOOKS: Final = WEBHOOKS_PATH.encode()
_MOST: Final = 100
_VERBS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Format = Literal["event", "cloudevents"]
_Size = Annotated[int, BeforeValidator(partial(page_size, default=_MOST, most=_MOST))]
PageSize = Annotated[_Size, Query(alias=ARGUMENT, ge=0)]


def is_of_webhooks(scope: Scope) -> bool:
    """Return whether a request is one about webhooks."""
    path: bytes = scope["raw_path"].partition(b"?")[0]
    if path.startswith(_WEBHOOKS):
        return path[len(_WEBHOOKS) : len(_WEBHOOKS) + 1] in {b"", b"/", b":"}
    return scope["method"] == "POST" and path.endswith(_NOTIFY.encode())


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )


class NotifyBody(_Body):
    """Where the events of one operation go."""

    url: str = Field(max_length=2048)
    events: list[str] = Field(default_factory=lambda: [DONE], max_length=20)
    format: Format = "event"
    secret: SecretStr | None = None
    backend: str = Field("", max_length=128)


class WebhookBody(NotifyBody):
    """Where events go, and which. By default, those of all operations that you may read."""

    operation: str = Field("", max_length=2048)
    method: str = Field("", max_length=512)
    states: list[str] = Field(default_factory=list, max_length=20)
    mine: StrictBool = False


def _in_utc(time: dt.datetime) -> dt.datetime:
    """Return a time in UTC; raise `ValueError` if it is then out of range."""
    try:
        return time.astimezone(dt.UTC)
    except OverflowError:
        raise ValueError("a time of the years 1 to 9999 is needed") from None


class NoBody(_Body):
    """The body of a request that needs nothing."""


class RotateBody(_Body):
    """The new secret, which the gateway makes if it is left out."""

    secret: SecretStr | None = None


class RedeliverBody(_Body):
    """The time since which deliveries that have not arrived are sent again, or all of them.

    `page_token` is the `nextPageToken` of the page before, to send the next ones.
    """

    since: Annotated[AwareDatetime, AfterValidator(_in_utc)] | None = None
    page_size: Annotated[_Size, Field(ge=0)] = _MOST
    page_token: Annotated[str, Field(max_length=128)] = ""


def webhook_router(service: OperationService, deliveries: Deliveries) -> APIRouter:
    """Return the routes of webhooks."""
    router = APIRouter(tags=["webhooks"], route_class=JsonRoute)
    _add_making(router, service, deliveries)
    _add_reading(router, deliveries)
    _add_changing(router, deliveries)
    _add_rotating(router, deliveries)
    _add_redelivering(router, deliveries)
    _add_other_verbs(router)
    return router


def routes_without_store() -> list[Route]:
    """Return the routes of webhooks in a gateway that has none, which say why."""

    def refuse(_request: Request) -> Response:
        raise status_error(
            Code.FAILED_PRECONDITION,
            "this gateway runs without a store, so it has no webhooks; set store.url, or wait for"
            " the operation",
            "NO_STORE",
        )

    below = (WEBHOOKS_PATH, f"{WEBHOOKS_PATH}/{{path:path}}", f"{WEBHOOKS_PATH}:{{verb}}")
    notify = Route(f"/v1/{{name:path}}{_NOTIFY}", refuse, methods=["POST"])
    return [notify, *(Route(path, refuse, methods=[*_VERBS]) for path in below)]


def _add_other_verbs(router: APIRouter) -> None:
    """Answer HEAD where there is GET, and refuse all other HTTP verbs at the paths of webhooks."""
    routes = [each for each in router.routes if isinstance(each, APIRoute)]
    verbs: defaultdict[str, set[str]] = defaultdict(set)
    for each in routes:
        methods = each.methods or set()
        verbs[each.path] |= methods
        if "GET" in methods:
            verbs[each.path].add("HEAD")
            hidden: dict[str, Any] = {"methods": ["HEAD"], "include_in_schema": False}
            router.add_api_route(each.path, each.endpoint, **hidden)
    # A path with a custom verb also matches the one without it.
    for path in sorted(verbs, key=lambda path: ":" not in path.rpartition("/")[2]):
        if path.startswith(WEBHOOKS_PATH):
            others = [*_VERBS - verbs[path]]
            router.add_route(path, _refusing(verbs[path]), others, include_in_schema=False)


def _refusing(verbs: Collection[str]) -> Callable[[Request], Response]:
    def refuse(request: Request) -> Response:
        if ":" in request.path_params.get("id", ""):
            raise HTTPException(404)
        raise not_allowed(sorted(verbs))

    return refuse


def _add_making(router: APIRouter, service: OperationService, deliveries: Deliveries) -> None:
    @router.post(WEBHOOKS_PATH, operation_id="CreateWebhook", summary="Send events to a URL")
    async def create(request: Request, body: WebhookBody) -> JSON:
        return await _made(service, deliveries, caller_of(request), body)

    @router.post(
        "/v1/{name:path}:notify",
        operation_id="NotifyOperation",
        summary="Send the events of one operation to a URL",
    )
    async def notify(
        request: Request,
        name: str,
        body: NotifyBody,
        in_query: Annotated[str | None, Query(alias="name")] = None,
        backend: str = "",
    ) -> JSON:
        del name  # its slashes are decoded
        in_path = resource_path(request).removesuffix(_NOTIFY)
        operation = merged(in_path, {} if in_query is None else {"name": in_query})["name"]
        given = {"operation": operation, "backend": backend or body.backend}
        wanted = WebhookBody(**{**body.model_dump(), **given})
        return await _made(service, deliveries, caller_of(request), wanted)


def _add_reading(router: APIRouter, deliveries: Deliveries) -> None:
    @router.get(WEBHOOKS_PATH, operation_id="ListWebhooks", summary="List your webhooks")
    async def list_(
        request: Request,
        size: PageSize = _MOST,
        page_token: Annotated[str, Query(alias="pageToken")] = "",
    ) -> JSON:
        caller = caller_of(request)
        found = await deliveries.subscribing.page(caller, page_token, size + 1)
        page: JSON = {"webhooks": [_webhook(each) for each in found[:size]]}
        return {**page, "nextPageToken": found[size - 1].id} if len(found) > size else page

    @router.get(f"{WEBHOOKS_PATH}/{{id}}", operation_id="GetWebhook", summary="Read a webhook")
    async def get(request: Request, id: str) -> JSON:  # noqa: A002 - the name in the path
        return _webhook(await deliveries.subscribing.get(caller_of(request), id))

    @router.get(
        f"{WEBHOOKS_PATH}/{{id}}/deliveries",
        operation_id="ListDeliveries",
        summary="List the deliveries of a webhook, the newest first",
    )
    async def list_deliveries(
        request: Request,
        id: str,  # noqa: A002 - the name in the path
        state: DeliveryState | None = None,
        size: PageSize = _MOST,
        page_token: Annotated[str, Query(alias="pageToken")] = "",
    ) -> JSON:
        found, following = await deliveries.deliveries(
            caller_of(request), id, before=page_token, limit=size, state=state
        )
        return _page(found, following)


def _add_changing(router: APIRouter, deliveries: Deliveries) -> None:
    subscribing = deliveries.subscribing

    @router.delete(f"{WEBHOOKS_PATH}/{{id}}", operation_id="DeleteWebhook", summary="End a webhook")
    async def delete(request: Request, id: str) -> JSON:  # noqa: A002 - the name in the path
        await subscribing.remove(caller_of(request), id)
        return {}

    @router.post(
        f"{WEBHOOKS_PATH}/{{id}}:disable",
        operation_id="DisableWebhook",
        summary="Send nothing until the webhook is enabled",
    )
    async def disable(
        request: Request,
        id: str,  # noqa: A002 - the name in the path
        body: NoBody | None = None,
    ) -> JSON:
        del body  # it is empty
        caller = caller_of(request)
        await subscribing.set_state(caller, id, SubscriptionState.DISABLED)
        return _webhook(await subscribing.get(caller, id))

    @router.post(
        f"{WEBHOOKS_PATH}/{{id}}:enable",
        operation_id="EnableWebhook",
        summary="Send events again",
    )
    async def enable(
        request: Request,
        id: str,  # noqa: A002 - the name in the path
        body: NoBody | None = None,
    ) -> JSON:
        del body  # it is empty
        caller = caller_of(request)
        await subscribing.set_state(caller, id, SubscriptionState.ACTIVE)
        return _webhook(await subscribing.get(caller, id))


def _add_rotating(router: APIRouter, deliveries: Deliveries) -> None:
    @router.post(
        f"{WEBHOOKS_PATH}/{{id}}:rotateSecret",
        operation_id="RotateSecret",
        summary="Replace the secret; for 24 hours the old ones sign too",
    )
    async def rotate(
        request: Request,
        id: str,  # noqa: A002 - the name in the path
        body: RotateBody | None = None,
    ) -> JSON:
        wanted = body.secret if body is not None else None
        secret = await deliveries.subscribing.rotate(caller_of(request), id, wanted)
        return {"secret": secret.get_secret_value()}


def _add_redelivering(router: APIRouter, deliveries: Deliveries) -> None:
    @router.post(
        f"{WEBHOOKS_PATH}/{{id}}:redeliver",
        operation_id="RedeliverAll",
        summary="Send again what has not arrived, a page at a time, the oldest first",
    )
    async def redeliver_all(
        request: Request,
        id: str,  # noqa: A002 - the name in the path
        body: RedeliverBody | None = None,
    ) -> JSON:
        body = body or RedeliverBody()
        again, following = await deliveries.redeliver_page(
            *(caller_of(request), id),
            since=body.since,
            after=body.page_token,
            limit=body.page_size,
        )
        return _page(again, following)

    @router.post(
        f"{WEBHOOKS_PATH}/{{id}}/deliveries/{{delivery}}:redeliver",
        operation_id="Redeliver",
        summary="Send one delivery again",
    )
    async def redeliver(
        request: Request,
        id: str,  # noqa: A002 - the name in the path
        delivery: str,
        body: NoBody | None = None,
    ) -> JSON:
        del body  # it is empty
        again = await deliveries.redeliver(caller_of(request), id, delivery)
        if again is None:
            raise status_error(
                Code.NOT_FOUND,
                "this webhook has no such delivery; list its deliveries to see their ids",
                "DELIVERY_NOT_FOUND",
                metadata={"delivery": delivery[:100]},
            )
        return _delivery(again)


async def _made(
    service: OperationService, deliveries: Deliveries, caller: Principal, body: WebhookBody
) -> JSON:
    events, states = (tuple(dict.fromkeys(each)) for each in (body.events, body.states))
    wanted = Selection(events, body.backend, body.operation, body.method, states, body.mine)
    selection = await canonical(service, caller, wanted)
    request = WebhookRequest("rest", body.url, selection, body.secret, format=body.format)
    made = await deliveries.subscribe(caller, request)
    return {**_webhook(made.subscription), "secret": made.secret.get_secret_value()}


def _webhook(subscription: Subscription) -> JSON:
    selection = subscription.selection
    found: dict[str, Any] = {
        "id": subscription.id,
        "url": subscription.url,
        "events": list(selection.kinds),
        "operation": selection.name or None,
        "backend": selection.backend or None,
        "method": selection.method or None,
        "states": list(selection.states) or None,
        "mine": selection.mine or None,
        "format": subscription.format,
        "state": subscription.state.value,
        "reason": subscription.reason or None,
        "createTime": _time(subscription.created),
        "lastDeliveryTime": _time(subscription.delivered),
        "failingSince": _time(subscription.failing),
        "lastError": subscription.error or None,
        "throttledUntil": _time(_still(subscription.throttled_until)),
    }
    return {key: value for key, value in found.items() if value is not None}


def _page(deliveries: Sequence[Delivery], following: str) -> JSON:
    page: JSON = {"deliveries": [_delivery(each) for each in deliveries]}
    return {**page, "nextPageToken": following} if following else page


def _delivery(delivery: Delivery) -> JSON:
    found: dict[str, Any] = {
        "id": delivery.id,
        "event": delivery.event.id,
        "kind": delivery.event.kind,
        "operation": delivery.event.target.name,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "nextAttemptTime": _time(delivery.due if delivery.finished is None else None),
        "endTime": _time(delivery.finished),
        "status": delivery.status,
        "error": delivery.error or None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _still(moment: dt.datetime | None) -> dt.datetime | None:
    return moment if moment is not None and moment > now() else None


def _time(moment: dt.datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

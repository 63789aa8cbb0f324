"""A route of FastAPI reads JSON whatever the content type of the request says."""

from __future__ import annotations

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from lro_gateway.rest.json_route import JsonRoute


class Body(BaseModel):
    """A body of the route below."""

    url: str


def app() -> FastAPI:
    """Return an application with one route that returns what it has read."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/hooks")
    async def make(body: Body) -> str:
        return body.url

    made = FastAPI()
    made.include_router(router)
    return made


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "application/x-www-form-urlencoded", "text/plain; charset=latin-1"],
)
async def test_the_body_is_json_whatever_its_content_type(content_type: str) -> None:
    """`curl -d` sends the content type of a form."""
    headers = {"content-type": content_type} if content_type else {}
    transport = httpx.ASGITransport(app())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/hooks", content=b'{"url": "x"}', headers=headers)
        form = await client.post("/hooks", content=b"url=x", headers=headers)
    assert (answer.status_code, answer.json()) == (200, "x")
    assert form.status_code == 422

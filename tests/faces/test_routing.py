"""Every face finds the backend of a name, and maps names between the two forms."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2

from lro_gateway.config.loading import load
from tests.contrary import Answer, Call, ContraryBackend, Handler, acknowledging
from tests.gateways import FACES, FaceName, RefusedError, opened

VERBS = ("get", "wait", "cancel", "delete")


def echoing(*names: str) -> dict[str, Handler]:
    """Return the handlers of a backend that has any operation, and lists these names."""

    async def echo(request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.Operation(name=request.name, done=True)
        return answer

    async def listed(request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.ListOperationsResponse(
            operations=[operations_pb2.Operation(name=name) for name in names],
            unreachable=[request.name] if request.return_partial_success else [],
        )
        return answer

    return {
        "GetOperation": echo,
        "WaitOperation": echo,
        "ListOperations": listed,
        "CancelOperation": acknowledging(),
        "DeleteOperation": acknowledging(),
    }


def requested(backend: ContraryBackend) -> list[str]:
    """Return the names in the requests of a backend since the last call of this function.

    Over MCP, a cancel also reads the operation. This read is of the same name and does not count.
    """
    names = [
        call.request.name
        for before, call in pairwise([None, *backend.calls])
        if call is not None and not is_read_of_a_cancel(before, call)
    ]
    backend.calls.clear()
    return names


def is_read_of_a_cancel(before: Call | None, call: Call) -> bool:
    """Return whether a call reads the operation that the call before has cancelled."""
    return (
        before is not None
        and (before.method, call.method) == ("CancelOperation", "GetOperation")
        and before.request.name == call.request.name
    )


def names(page: Any) -> list[str]:
    """Return the names of a page's operations."""
    return [operation["name"] for operation in page["operations"]]


@pytest.mark.parametrize("kind", FACES)
async def test_a_pattern_leads_to_its_backend(kind: FaceName) -> None:
    """A name that matches a pattern needs no `backend`, and answers have it unchanged."""
    async with (
        ContraryBackend.open(echoing("jobs/1")) as jobs,
        ContraryBackend.open(echoing("main/2")) as tasks,
        opened(
            kind,
            {"name": "jobs", "target": jobs.target, "operations": ["jobs/*", "a/**/b/*"]},
            {"name": "tasks", "target": tasks.target, "operations": ["main/{id}"]},
        ) as client,
    ):
        for verb in VERBS:
            for name in ("jobs/1", "a/x/y/b/1"):
                answer = await getattr(client, verb)(name)
                assert answer in ({}, {"name": name, "done": True})
            await getattr(client, verb)("main/2")
        # A wait reads the operation first, and here the operation is done.
        assert requested(jobs) == ["jobs/1", "a/x/y/b/1"] * 4
        assert requested(tasks) == ["main/2"] * 4
        assert names(await client.list()) == ["jobs/1", "main/2"]
        assert names(await client.list(name="main")) == ["main/2"]


@pytest.mark.parametrize("kind", FACES)
async def test_a_caller_chooses_between_two_backends_with_the_same_names(kind: FaceName) -> None:
    """The caller chooses by `backend` or by a full name, and every answer has a full name."""
    async with (
        ContraryBackend.open(echoing("jobs/1")) as one,
        ContraryBackend.open(echoing("jobs/1")) as two,
        opened(
            kind,
            {"name": "one", "target": one.target},
            {"name": "two", "target": two.target},
        ) as client,
    ):
        for verb in VERBS:
            by_argument = await getattr(client, verb)("jobs/1", backend="two")
            by_name = await getattr(client, verb)("//two/jobs/1")
            both = await getattr(client, verb)("//two/jobs/1", backend="two")
            assert by_argument == by_name == both
            assert by_name in ({}, {"name": "//two/jobs/1", "done": True})
        assert (requested(one), requested(two)) == ([], ["jobs/1"] * 12)
        assert names(await client.list()) == ["//one/jobs/1", "//two/jobs/1"]
        assert names(await client.list(backend="two")) == ["//two/jobs/1"]
        assert names(await client.list(name="//two/jobs")) == ["//two/jobs/1"]
        assert (requested(one), requested(two)) == ([""], ["", "", "jobs"])


@pytest.mark.parametrize("kind", FACES)
async def test_a_full_name_can_be_outside_the_patterns_of_its_backend(
    kind: FaceName,
) -> None:
    """`backend` and a full name override the patterns, and the answer has a name to use again."""
    async with (
        ContraryBackend.open(echoing()) as declared,
        ContraryBackend.open(echoing()) as undeclared,
        opened(
            kind,
            {"name": "d", "target": declared.target, "operations": ["jobs/*"]},
            {"name": "u", "target": undeclared.target},
        ) as client,
    ):
        answers = [
            await client.get("other/1", backend="d"),
            await client.get("//d/other/1"),
            await client.get("//d/jobs/1"),
            await client.get("other/1"),
            await client.get("jobs/1", backend="u"),
        ]
        assert [answer["name"] for answer in answers] == [
            "//d/other/1",
            "//d/other/1",
            "jobs/1",
            "other/1",
            "//u/jobs/1",
        ]
        assert requested(declared) == ["other/1", "other/1", "jobs/1"]
        assert requested(undeclared) == ["other/1", "jobs/1"]


@pytest.mark.parametrize("kind", FACES)
async def test_a_pair_maps_names_both_ways(kind: FaceName) -> None:
    """Requests to the backend have its form of a name, and answers have the gateway's form."""
    pair = {"{instance}/{id}": "projects/build/locations/{instance}/operations/{id}"}
    public = "projects/build/locations/main/operations/7"
    async with (
        ContraryBackend.open(echoing("main/7", "stray")) as backend,
        opened(kind, {"name": "b", "target": backend.target, "operations": [pair]}) as client,
    ):
        for verb in VERBS:
            answer = await getattr(client, verb)(public)
            assert answer in ({}, {"name": public, "done": True})
        assert requested(backend) == ["main/7"] * 4
        page = (
            await client.list(name="projects/build/locations/main", returnPartialSuccess="true")
            if kind == "rest"
            else await client.list(name="projects/build/locations/main", returnPartialSuccess=True)
        )
        assert names(page) == [public, "//b/stray"]
        assert page["unreachable"] == ["projects/build/locations/main"]
        assert requested(backend) == ["main"]
        assert (await client.get("//b/main/7"))["name"] == public
        assert names(await client.list()) == [public, "//b/stray"]


@pytest.mark.parametrize("kind", FACES)
async def test_a_list_request_has_the_form_of_name_that_the_backend_expects(kind: FaceName) -> None:
    """The form is a parent or a collection. An empty name becomes the configured default."""
    async with (
        ContraryBackend.open(echoing()) as parent,
        ContraryBackend.open(echoing()) as collection,
        ContraryBackend.open(echoing()) as plain,
        opened(
            kind,
            {"name": "parent", "target": parent.target, "default_parent": "projects/mine"},
            {
                "name": "collection",
                "target": collection.target,
                "list_name": "collection",
                "default_parent": "projects/mine",
            },
            {"name": "plain", "target": plain.target, "list_name": "collection"},
        ) as client,
    ):
        for name in ("projects/p", "projects/p/operations"):
            # Over REST the collection is the path itself.
            sent = "projects/p" if kind == "rest" else name
            await client.list(name=sent)
        await client.list()
        assert requested(parent) == ["projects/p", "projects/p", "projects/mine"]
        wanted = ["projects/p/operations"] * 2
        assert requested(collection) == [*wanted, "projects/mine/operations"]
        assert requested(plain) == [*wanted, "operations"]


@pytest.mark.parametrize("kind", FACES)
async def test_a_list_of_a_parent_calls_only_backends_that_can_have_it(kind: FaceName) -> None:
    """A backend whose patterns match can have it, or, without such, one without patterns."""
    async with (
        ContraryBackend.open(echoing()) as builds,
        ContraryBackend.open(echoing()) as open_to_all,
        opened(
            kind,
            {
                "name": "builds",
                "target": builds.target,
                "operations": ["projects/*/locations/*/operations/*"],
            },
            {"name": "all", "target": open_to_all.target},
        ) as client,
    ):
        for parent in ("projects/p/locations/l", "projects/p", "databases/d"):
            await client.list(name=parent)
        assert requested(builds) == ["projects/p/locations/l", "projects/p"]
        assert requested(open_to_all) == ["databases/d"]


@pytest.mark.parametrize("kind", FACES)
async def test_a_parent_that_no_backend_can_have_is_refused(kind: FaceName) -> None:
    """The gateway answers INVALID_ARGUMENT and calls no backend."""
    async with (
        ContraryBackend.open(echoing()) as backend,
        opened(kind, {"name": "b", "target": backend.target, "operations": ["jobs/*"]}) as client,
    ):
        with pytest.raises(RefusedError) as caught:
            await client.list(name="databases/d")
        assert (caught.value.reason, caught.value.fields) == ("UNROUTABLE_NAME", ["name"])
        assert backend.calls == []


@pytest.mark.parametrize("kind", FACES)
async def test_a_gateway_without_backends_refuses_every_call(kind: FaceName) -> None:
    """The code is FAILED_PRECONDITION, and the reason is NO_BACKEND."""
    async with opened(kind) as client:
        for call in (client.get("jobs/1"), client.list(), client.cancel("jobs/1")):
            with pytest.raises(RefusedError) as caught:
                await call
            assert (caught.value.status, caught.value.reason) == (
                "FAILED_PRECONDITION",
                "NO_BACKEND",
            )


@pytest.mark.parametrize("kind", FACES)
async def test_a_backend_is_found_by_the_name_that_follows_from_its_target(
    kind: FaceName, tmp_path: Path
) -> None:
    """The names of an IPv6 address and of a socket work in full names and as `backend`."""
    async with (
        ContraryBackend.open(echoing("jobs/1"), address="[::1]:0") as first,
        ContraryBackend.open(echoing("jobs/1"), address=f"unix:{tmp_path}/b.sock") as second,
        opened(
            kind,
            *(
                {"name": backend.name, "target": backend.target}
                for backend in load(None, [first.target, second.target]).backends
            ),
        ) as client,
    ):
        found = names(await client.list())
        assert [name.partition(":")[0] for name in found] == ["//ipv6", "//unix"]
        for name, backend in zip(found, (first, second), strict=True):
            requested(backend)
            for verb in VERBS:
                await getattr(client, verb)(name)
            await client.get("jobs/1", backend=name.removeprefix("//").partition("/")[0])
            assert set(requested(backend)) == {"jobs/1"}

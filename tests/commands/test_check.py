"""`lro-gateway check`: it prints the methods and the problems, and sets its exit status."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from lro_gateway.commands.check import check
from lro_gateway.config.models import GatewayConfig
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import Location
from tests import factory
from tests.access.authorization_server import AuthorizationServer
from tests.commands.test_cli import failed, refused, run
from tests.contrary import ContraryBackend
from tests.gateways import serving
from tests.rest import library
from tests.rest.library import method, rule

NOWHERE = "127.0.0.1:1"
DOWN = (
    f"at {NOWHERE} cannot be reached: Failed to connect to remote host: Connection refused;"
    " nothing listens there: start the backend, or correct target"
)
SERVICE = "lro_gateway.demo.v1.DatabaseAdmin"


VERBS_ONLY = """
[[backends]]
name = "b"
target = "{}"
descriptors = []
"""
"""A backend whose methods are not looked up, so that it is no problem if it has none."""


async def checked(directory: Path, *arguments: str, config: str = "") -> tuple[int, list[str]]:
    """Run the command in a directory with a configuration; return its status and printed lines."""
    if config:
        await asyncio.to_thread((directory / "gateway.toml").write_text, config)
        arguments = ("--config", "gateway.toml", *arguments)
    # The command runs in another thread, because the event loop of this one serves the backends.
    # With port 0, it does not matter which ports of this machine are in use.
    if "--port" not in arguments:
        arguments = (*arguments, "--port", "0")
    ended = await asyncio.to_thread(run, "check", *arguments, directory=directory)
    assert ended.stderr == ""
    return ended.returncode, ended.stdout.splitlines()


def problems(printed: list[str]) -> list[str]:
    """Return the problems in the printed lines, and check that the heading has their number."""
    at = max(i for i, line in enumerate(printed) if line and not line.startswith(" "))
    found = [line.strip() for line in printed[at + 1 :]]
    count = {0: "No problems", 1: "1 problem"}.get(len(found), f"{len(found)} problems")
    assert printed[at] == count
    return found


def write(path: Path, files: FileDescriptorSet) -> None:
    """Write descriptors as protoc does."""
    path.write_bytes(files.SerializeToString())


async def test_a_configuration_without_problems_ends_with_0(tmp_path: Path) -> None:
    """Each method is printed with its routes and hints.

    `confirm` may also name CancelOperation and DeleteOperation. No line is longer than 80
    characters.
    """
    async with DemoServer.open(tmp_path) as demo:
        status, printed = await checked(
            tmp_path,
            config=f"""
            [[backends]]
            name = "demo"
            target = "{demo.target}"
            methods = ["*/GetDatabase"]
            exclude_methods = ["*/Backup*"]
            confirm = [
                "*/Check*",
                "google.longrunning.Operations/CancelOperation",
                "google.longrunning.Operations/Delete*",
            ]
            hints = {{ "*/Export*" = {{ idempotent = true }} }}
            """,
        )
    assert printed == [
        "Backends",
        f"  demo  {demo.target}  serving  1 service, 4 methods offered",
        "",
        "Methods",
        "  check_database: long-running, confirm",
        "    POST /v1/{name=databases/*}:check",
        f"    {SERVICE}/CheckDatabase",
        "  create_database: long-running, additive",
        "    POST /v1/databases",
        f"    {SERVICE}/CreateDatabase",
        "  export_query: long-running, additive, idempotent",
        "    POST /v1/{database=databases/*}:exportQuery",
        f"    {SERVICE}/ExportQuery",
        "  get_database: plain, read-only",
        "    GET /v1/{name=databases/*}",
        f"    {SERVICE}/GetDatabase",
        "",
        "Plain RPCs, which the gateway offers if the setting methods matches them",
        *(f"  {SERVICE}/{name}" for name in ("ListBackups", "ListDatabases")),
        "",
        "No problems",
    ]
    assert status == 0
    assert max(map(len, printed)) <= 80


async def test_methods_and_streams_show_their_backends_if_there_are_several(tmp_path: Path) -> None:
    """A backend that does not serve is a problem, and the status is 1."""
    write(tmp_path / "factory.binpb", factory.descriptor_set())
    regions = "".join(
        f"""
        [[backends]]
        name = "{name}"
        target = "{NOWHERE}"
        descriptors = ["factory.binpb"]
        exclude_methods = ["*/[BDU]*"]
        """
        for name in ("eu", "us-east")
    )
    status, printed = await checked(tmp_path, config=regions)
    assert printed == [
        "Backends",
        f"  eu       {NOWHERE}  unreachable  1 service, 1 method offered",
        f"  us-east  {NOWHERE}  unreachable  1 service, 1 method offered",
        "",
        "Methods",
        "  overhaul: long-running, on eu and us-east",
        "    POST /v1/factory.v1.Factory/Overhaul",
        "    factory.v1.Factory/Overhaul",
        "",
        "Streaming RPCs, which the gateway does not offer",
        "  factory.v1.Factory/WatchMachines, on eu",
        "  factory.v1.Factory/WatchMachines, on us-east",
        "",
        "Plain RPCs, which the gateway offers if the setting methods matches them",
        "  factory.v1.Factory/GetMachine, on eu",
        "  factory.v1.Factory/GetMachine, on us-east",
        "",
        "2 problems",
        f"  backend 'eu' {DOWN}",
        f"  backend 'us-east' {DOWN}",
    ]
    assert status == 1


async def test_a_pattern_that_matches_no_method_is_a_problem(tmp_path: Path) -> None:
    """Each of the four keys that take patterns has a pattern that is probably misspelt."""
    async with DemoServer.open(tmp_path) as demo:
        status, printed = await checked(
            tmp_path,
            config=f"""
            [[backends]]
            name = "demo"
            target = "{demo.target}"
            methods = ["*/List*", "*/list*"]
            exclude_methods = ["acme.*/*"]
            confirm = ["*/DeleteOperations"]
            hints = {{ "*/ExportQueri" = {{ read_only = true }} }}
            request_ids = ["acme.*/*"]
            """,
        )
    assert problems(printed) == [
        "backend 'demo': methods: \"*/list*\" matches no method",
        "backend 'demo': exclude_methods: \"acme.*/*\" matches no method",
        "backend 'demo': confirm: \"*/DeleteOperations\" matches no method",
        "backend 'demo': hints: \"*/ExportQueri\" matches no method",
        "backend 'demo': request_ids: \"acme.*/*\" matches no method",
    ]
    assert status == 1


async def test_refused_routes_are_problems_that_name_their_methods(tmp_path: Path) -> None:
    """Two methods claim one route, one route has a page of the gateway, and one is invalid."""
    files = library.descriptor_set(
        method("Get", rule("GET", "/v1/{name=books/*}")),
        method("Fetch", rule("GET", "/v1/{parent=books/*}"), rule("GET", "/v1/fetch")),
        method("Watch", rule("GET", "/docs")),
        method("Wrong", rule("GET", "/v1/{nme}")),
    )
    write(tmp_path / "library.binpb", files)
    async with ContraryBackend.open({}) as backend:
        status, printed = await checked(
            tmp_path,
            config=f"""
            [[backends]]
            name = "library"
            target = "{backend.target}"
            descriptors = ["library.binpb"]
            methods = ["*/*"]
            """,
        )
    assert printed[4:14] == [
        "  fetch: plain, read-only",
        "    GET /v1/{parent=books/*}",
        "    GET /v1/fetch",
        "    library.v1.Library/Fetch",
        "  get: plain, read-only",
        "    GET /v1/{name=books/*}",
        "    POST /v1/library.v1.Library/Get",
        "    library.v1.Library/Get",
        "  watch: plain, read-only",
        "    POST /v1/library.v1.Library/Watch",
    ]
    service = "library.v1.Library"
    page = "the gateway's own page has this path"
    both = (
        "several methods of backend 'library' claim this route, so a request to it is ambiguous;"
        " each method also has POST /v1/{package.Service}/{Method}"
    )
    wrong = "there is no field 'nme' in library.v1.BookRequest"
    assert problems(printed) == [
        f"route GET /docs of {service}.Watch: {page}",
        f"route GET /v1/{{nme}} of {service}.Wrong: {wrong}",
        f"route GET /v1/{{parent=books/*}} of {service}.Fetch and {service}.Get: {both}",
    ]
    assert status == 1


async def test_patterns_are_not_checked_if_a_source_of_descriptors_failed(tmp_path: Path) -> None:
    """The methods of the backend are then unknown. The failed source is the only problem."""
    async with ContraryBackend.open({}) as backend:
        status, printed = await checked(
            tmp_path,
            config=f"""
            [[backends]]
            name = "mute"
            target = "{backend.target}"
            methods = ["*/Get*"]
            """,
        )
    assert printed == [
        "Backends",
        f"  mute  {backend.target}  serving  no services, no methods offered",
        "",
        "Methods",
        "  none",
        "",
        "1 problem",
        (
            "  backend 'mute': descriptors: reflection is not served; add a FileDescriptorSet of"
            " its services to the setting descriptors; make one with protoc --include_imports"
            " --include_source_info -I . -I GOOGLEAPIS -o FILE PROTO_FILES, where GOOGLEAPIS is the"
            " directory that has google/longrunning/operations.proto"
        ),
    ]
    assert status == 1


async def test_reflection_that_is_not_served_can_be_left_out(tmp_path: Path) -> None:
    """A file beside it has all methods, so the cure is to ask for no reflection."""
    write(tmp_path / "factory.binpb", factory.descriptor_set())
    async with ContraryBackend.open({}) as backend:
        status, printed = await checked(
            tmp_path,
            config=f"""
            [[backends]]
            name = "mute"
            target = "{backend.target}"
            descriptors = ["factory.binpb", "reflection"]
            """,
        )
    assert (status, printed[-2:]) == (
        1,
        [
            "1 problem",
            (
                "  backend 'mute': descriptors: reflection is not served;"
                ' remove "reflection" from the setting descriptors if the other sources suffice,'
                " or serve reflection"
            ),
        ],
    )


async def test_missing_descriptors_are_problems(tmp_path: Path) -> None:
    """A method announces an unknown type, and a file of descriptors cannot be used."""
    files = copy.deepcopy(factory.descriptor_set())
    (factory_file,) = (file for file in files.file if file.package == "factory.v1")
    (metadata,) = (each for each in factory_file.message_type if each.name == "BuildMetadata")
    metadata.name = "Renamed"
    clashing = files.file.add(name="other.proto", package="factory.v1", syntax="proto3")
    clashing.message_type.add(name="Machine")
    clashing.service.add(name="Other")
    write(tmp_path / "factory.binpb", files)
    async with ContraryBackend.open({}) as backend:
        status, printed = await checked(
            tmp_path,
            config=f"""
            [[backends]]
            name = "b"
            target = "{backend.target}"
            descriptors = ["factory.binpb"]
            """,
        )
    left_out, *unknown = problems(printed)
    assert left_out == (
        "backend 'b': descriptors: 'other.proto': factory.v1.Machine was left out,"
        " because 'factory.proto' declares it differently"
    )
    missing = "backend 'b': descriptors: no source has factory.v1.BuildMetadata, which"
    assert unknown == [
        f"{missing} factory.v1.Factory/{name} announces"
        for name in ("BuildMachine", "UpdateMachine")
    ]
    assert status == 1


SERVER = """
[server]
host = "192.0.2.1"
[[backends]]
name = "b"
target = "127.0.0.1:1"
"""
TLS = """
[[backends]]
name = "one"
target = "127.0.0.1:1"
tls = { ca = "gateway.toml" }
[[backends]]
name = "two"
target = "127.0.0.1:1"
descriptors = ["gateway.toml"]
"""
SECRETS = """
[server]
keys = ["env:NO_SUCH_KEY", "no.key"]
[[backends]]
name = "b"
target = "127.0.0.1"
operations = ["jobs/*"]
metadata = { authorization = "file:no.token", x-team = "env:NO_SUCH_TEAM" }
descriptors = ["module:no_such_module"]
tls = { cert = "gateway.toml" }
[[backends]]
name = "b"
target = "127.0.0.1:1"
[[backends]]
name = "c"
target = "127.0.0.1:1"
operations = ["jobs/1"]
"""


@pytest.mark.parametrize(
    ("config", "arguments", "count"),
    [
        (SERVER, (), 1),
        (SERVER, ("--host", "localhost:80"), 1),
        (SERVER, ("--stdio", "--workers", "2"), 1),
        (SECRETS, (), 9),
    ],
    ids=["beyond loopback", "no address", "stdio and workers", "all at once"],
)
def test_check_refuses_what_serve_refuses(
    tmp_path: Path, config: str, arguments: tuple[str, ...], count: int
) -> None:
    """Both commands take the same options, print the same messages, and end with status 2."""
    (tmp_path / "gateway.toml").write_text(config)
    by_serve, by_check = (
        refused(command, "--config", "gateway.toml", *arguments, directory=tmp_path)
        for command in ("serve", "check")
    )
    assert by_check == by_serve
    assert len(by_check) == count


async def test_check_and_serve_refuse_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Both read the files when they open the gateway, and print all problems of the files."""
    (tmp_path / "gateway.toml").write_text(TLS)
    by_serve, by_check = await asyncio.gather(
        *(
            asyncio.to_thread(failed, command, "--config", "gateway.toml", directory=tmp_path)
            for command in ("serve", "check")
        )
    )
    assert by_check == by_serve
    assert len(by_check) == 2


async def test_an_address_at_which_serve_could_not_listen_is_a_problem(tmp_path: Path) -> None:
    """This machine does not have the first address, and another process listens at the second."""
    async with ContraryBackend.open({}) as backend:
        (tmp_path / "gateway.toml").write_text(VERBS_ONLY.format(backend.target))
        options = ("--config", "gateway.toml", "--allow-anonymous")
        foreign, taken, unused = await asyncio.gather(
            checked(tmp_path, *options, "--host", "192.0.2.1", "--port", "0"),
            checked(tmp_path, *options, "--port", backend.target.rpartition(":")[2]),
            checked(tmp_path, *options, "--host", "192.0.2.1", "--port", "0", "--stdio"),
        )
    assert problems(foreign[1]) == ["cannot listen at 192.0.2.1:0: Cannot assign requested address"]
    (problem,) = problems(taken[1])
    assert problem.startswith(f"cannot listen at {backend.target}: Address already in use; choose")
    assert problems(unused[1]) == []
    assert (foreign[0], taken[0], unused[0]) == (1, 1, 0)


async def test_a_backend_that_is_down_is_one_problem_with_its_cure(tmp_path: Path) -> None:
    """The failed reflection has the same cause and is not reported too."""
    status, printed = await checked(tmp_path, "--backend", NOWHERE)
    assert problems(printed) == [f"backend '{NOWHERE}' {DOWN}"]
    assert status == 1


async def test_an_issuer_whose_keys_cannot_be_fetched_is_a_problem(tmp_path: Path) -> None:
    """An issuer whose keys are there is none."""
    async with (
        AuthorizationServer.open(tmp_path) as issuer,
        ContraryBackend.open({}) as backend,
    ):
        config = f"""
            [[auth.issuers]]
            issuer = "{issuer.issuer}"
            ca = "{issuer.ca}"
            {VERBS_ONLY.format(backend.target)}
        """
        status, printed = await checked(tmp_path, config=config)
        assert (status, problems(printed)) == (0, [])
        issuer.is_down = True
        status, printed = await checked(tmp_path, config=config)
    place = f"{issuer.issuer}/.well-known/openid-configuration"
    assert (status, problems(printed)) == (1, [f"issuer {issuer.issuer}: {place} answered 503"])


async def test_an_address_that_a_gateway_serves_is_no_problem(tmp_path: Path) -> None:
    """An operator checks a changed configuration before the gateway is restarted with it."""
    async with (
        ContraryBackend.open({}) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        port = url.rpartition(":")[2]
        config = VERBS_ONLY.format(backend.target)
        status, printed = await checked(tmp_path, "--port", port, config=config)
    assert problems(printed) == []
    assert status == 0


async def test_secrets_of_the_metadata_are_sent_and_never_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output of check and the messages about mistakes have no value of the metadata."""
    monkeypatch.setenv("TEST_TOKEN", "canary-1")
    (tmp_path / "token").write_text("canary-2\n")
    async with ContraryBackend.open({}, reflection_versions=("v1",)) as backend:
        _, printed = await checked(
            tmp_path,
            config=f"""
            [[backends]]
            name = "b"
            target = "{backend.target}"
            metadata = {{ a = "env:TEST_TOKEN", b = "file:token", c = "canary-3" }}
            """,
        )
        sent = {key: call.metadata[key] for call in backend.calls for key in "abc"}
    assert sent == {"a": "canary-1", "b": "canary-2", "c": "canary-3"}
    assert "canary" not in "".join(printed)


async def test_a_method_that_two_backends_declare_differently_is_a_problem(tmp_path: Path) -> None:
    """One tool and one route describe the method, with the messages of the first backend."""
    files = copy.deepcopy(factory.descriptor_set())
    write(tmp_path / "old.binpb", files)
    (made,) = (file for file in files.file if file.package == "factory.v1")
    (request,) = (each for each in made.message_type if each.name == "OverhaulRequest")
    request.field[0].number = 7
    write(tmp_path / "new.binpb", files)
    async with ContraryBackend.open({}) as backend:
        _, printed = await checked(
            tmp_path,
            config="".join(
                f"""
                [[backends]]
                name = "{name}"
                target = "{backend.target}"
                descriptors = ["{name}.binpb"]
                """
                for name in ("old", "new")
            ),
        )
    assert problems(printed) == [
        (
            "backend 'new': descriptors: factory.v1.Factory/Overhaul has other messages than that"
            " of backend 'old', whose messages the tool and the routes describe"
        )
    ]


async def test_approvals_need_no_store_that_the_check_may_not_open(tmp_path: Path) -> None:
    """A gateway that runs may hold the store of the configuration, so the check leaves it alone."""
    config = """
        [store]
        url = "sqlite:///store.sqlite3"
        [[backends]]
        name = "b"
        target = "{}"
        descriptors = ["factory.binpb"]
        approval = "required"
        self_approval = {}
    """
    write(tmp_path / "factory.binpb", factory.descriptor_set())
    async with ContraryBackend.open({}) as backend:
        status, printed = await checked(tmp_path, config=config.format(backend.target, "true"))
        assert (status, problems(printed)) == (0, [])
        assert not (tmp_path / "store.sqlite3").exists()
        (tmp_path / "gateway.toml").write_text(config.format(backend.target, "false"))
        told = await asyncio.to_thread(run, "check", "--config", "gateway.toml", directory=tmp_path)
    assert (told.returncode, "backend b: approval needs [auth]" in told.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no backend is configured: give --backend HOST:PORT or --config FILE"),
        (
            ("--config", "gateway.toml"),
            "gateway.toml: cannot be read: No such file or directory",
        ),
    ],
    ids=["no backend", "no file"],
)
def test_a_configuration_that_does_not_load_ends_with_2(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """The message on stderr is that of `serve`."""
    assert refused("check", *arguments, directory=tmp_path) == [message]


def test_descriptors_that_cannot_be_read_end_with_2(tmp_path: Path) -> None:
    """The message says how to make such a file."""
    (tmp_path / "empty.binpb").touch()
    (tmp_path / "bad.toml").write_text(
        f'[[backends]]\nname = "b"\ntarget = "{NOWHERE}"\ndescriptors = ["empty.binpb"]\n'
    )
    (message,) = failed("check", "--config", "bad.toml", directory=tmp_path)
    assert message == (
        "backend b: descriptors: empty.binpb is not a FileDescriptorSet; make one with"
        " protoc --include_imports --include_source_info -I . -I GOOGLEAPIS -o FILE PROTO_FILES,"
        " where GOOGLEAPIS is the directory that has google/longrunning/operations.proto"
    )


async def test_the_description_of_a_backend_is_printed_below_it(tmp_path: Path) -> None:
    """The operator sees what callers see where they must choose a backend."""
    async with ContraryBackend.open({}) as backend:
        config = VERBS_ONLY.format(backend.target) + 'description = "Machines in Europe."\n'
        _, printed = await checked(tmp_path, config=config)
    at = next(index for index, line in enumerate(printed) if backend.target in line)
    assert printed[at + 1] == "    Machines in Europe."


async def test_a_source_that_has_no_services_is_named(tmp_path: Path) -> None:
    """Modules for proto-plus are such sources, and so are many descriptor sets."""
    write(tmp_path / "messages.binpb", FileDescriptorSet(file=factory.descriptor_set().file[:1]))
    sources = ["module:google.rpc", "messages.binpb", "module:lro_gateway.demo.v1", "reflection"]
    async with DemoServer.open(tmp_path / "demo") as server:
        config = (
            f'[[backends]]\nname = "b"\ntarget = "{server.target}"\n'
            f"descriptors = {json.dumps(sources)}\n"
        )
        status, printed = await checked(tmp_path, config=config)
    assert status == 0
    end = " has messages and no services, so it brings no methods"
    named = [line.strip().removesuffix(end) for line in printed if line.endswith(end)]
    assert named == ["module:google.rpc", "messages.binpb"]
    assert problems(printed) == []


async def test_a_default_file_that_cannot_be_used_is_no_problem(tmp_path: Path) -> None:
    """The gateway would serve without a store. A file that is configured is a problem."""
    (tmp_path / "file").touch()
    file = tmp_path / "file" / "store.sqlite3"
    async with Gateway.open(GatewayConfig()) as gateway:
        default = await check(gateway, listens=False, store=Location(file, is_default=True))
        configured = await check(gateway, listens=False, store=Location(file))
    cannot = f"the store {file} cannot be created by this user"
    assert (default.store, default.problems) == (f"none: {cannot}", ())
    assert (configured.store, configured.problems) == (
        f"SQLite at {file}",
        (f"store: {cannot}",),
    )

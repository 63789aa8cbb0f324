"""Reading the configuration: valid files load, and all mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from lro_gateway.config.loading import ConfigError, load
from lro_gateway.config.models import BackendConfig, GatewayConfig, ServerConfig
from lro_gateway.operations.names import NameMapping

Write = Callable[[str], Path]


def mistakes(file: Path | None, backends: Sequence[str] = ()) -> list[str]:
    """Load a configuration that must fail; return its mistakes without the file's directory."""
    with pytest.raises(ConfigError) as caught:
        load(file, backends)
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    directory = f"{file.parent}/" if file else "\0"
    return [mistake.replace(directory, "") for mistake in caught.value.mistakes]


def test_an_empty_configuration_is_a_gateway_without_backends() -> None:
    """The gateway listens on loopback, and every setting has its default."""
    config = load(None)
    assert config == GatewayConfig()
    assert config.server == ServerConfig(host="127.0.0.1", port=8080)
    assert config.server.is_loopback


def test_a_whole_backend_loads(write: Write) -> None:
    """The keys that users write most load; file names are relative to the configuration file."""
    file = write(
        """
        [[backends]]
        name = "builds"
        target = "127.0.0.1:50051"
        operations = ["projects/*/locations/*/operations/*"]
        descriptors = ["reflection", "builds.binpb", "module:google.rpc"]
        list_name = "collection"
        deadline = "20s"
        metadata = { x-team = "infra" }
        tls = { ca = "ca.pem" }
        """
    )
    for beside in ("builds.binpb", "ca.pem"):
        (file.parent / beside).touch()
    (backend,) = load(file).backends
    assert backend.operations == (NameMapping.parse("projects/*/locations/*/operations/*"),)
    assert backend.model_dump(exclude={"operations"}, exclude_defaults=True) == {
        "name": "builds",
        "target": "127.0.0.1:50051",
        "descriptors": ("reflection", str(file.parent / "builds.binpb"), "module:google.rpc"),
        "list_name": "collection",
        "deadline": timedelta(seconds=20),
        "metadata": {"x-team": SecretStr("infra")},
        "tls": {"ca": file.parent / "ca.pem"},
    }


def test_a_backend_needs_a_name_and_a_target_only() -> None:
    """Every other key has the default that the documentation states."""
    assert BackendConfig(name="b", target="h:1").model_dump() == {
        "name": "b",
        "former_names": (),
        "target": "h:1",
        "description": "",
        "operations": (),
        "former_operations": (),
        "descriptors": ("reflection",),
        "list_name": "parent",
        "default_parent": "",
        "max_page_size": 1000,
        "deadline": timedelta(seconds=10),
        "keepalive": timedelta(seconds=60),
        "keepalive_timeout": timedelta(seconds=10),
        "methods": (),
        "exclude_methods": (),
        "confirm": (),
        "hints": {},
        "request_ids": (),
        "poll_intervals": (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30)),
        "max_watches": 10_000,
        "polls_per_second": 100.0,
        "freshness": timedelta(milliseconds=200),
        "progress_fields": (),
        "baggage": (),
        "descriptor_refresh": timedelta(minutes=5),
        "discovery_wait": timedelta(seconds=10),
        "max_descriptor_files": 20_000,
        "max_descriptor_bytes": 64 * 1024 * 1024,
        "max_services": 5_000,
        "max_methods": 20_000,
        "max_concurrent_calls": 1000,
        "max_queued_calls": 1000,
        "max_call_share": 0.5,
        "max_message_bytes": 4 * 1024 * 1024,
        "max_message_elements": 50_000,
        "max_metadata_bytes": 4 * 1024 * 1024,
        "journal_requests": (),
        "visibility": "all",
        "approval": (),
        "approval_expires": timedelta(days=1),
        "self_approval": False,
        "expected_times": {},
        "metadata": {},
        "pass_headers": (),
        "credentials": None,
        "tls": None,
    }


def test_patterns_are_plain_or_tables_of_pairs(write: Write) -> None:
    """A table with any number of pairs may be in the list or in place of the list."""
    file = write(
        """
        [[backends]]
        name = "a"
        target = "h:1"
        operations = ["x/*", { "m/{o}" = "y/{o}", "j/{o}/k" = "z/{o}" }]
        [[backends]]
        name = "b"
        target = "h:1"
        [backends.operations]
        "{i}" = "w/{i}"
        """
    )
    parse = NameMapping.parse
    assert [backend.operations for backend in load(file).backends] == [
        (parse("x/*"), parse("m/{o}", "y/{o}"), parse("j/{o}/k", "z/{o}")),
        (parse("{i}", "w/{i}"),),
    ]


def test_backends_of_options_follow_the_backends_of_a_file(write: Write) -> None:
    """No option may have the name of a backend in the file."""
    file = write('[[backends]]\nname = "a"\ntarget = "h:1"')
    assert [backend.name for backend in load(file, ["b=h:2"]).backends] == ["a", "b"]
    assert mistakes(file, ["a=h:2"]) == [
        (
            "--backend a=h:2: the name 'a' is taken by gateway.toml: backends[0];"
            " give one of them another name"
        )
    ]


def test_every_mistake_is_reported_at_once_with_its_location(write: Write) -> None:
    """Mistakes are unknown keys, wrong types, invalid values, missing files and conflicts."""
    file = write(
        """
        sever = {}
        port = 80
        [server]
        port = "80"
        host = 1
        portt = 1
        max_body_bytes = true
        [[backends]]
        name = "one"
        target = "h:1"
        taget = "h:1"
        operations = ["a/*", "a//b", { "x/{id}" = "y/{ix}" }, 3]
        descriptors = ["reflection", "no.binpb", "module:no_such_module", "module:", 5]
        list_name = "both"
        max_page_size = 0
        deadline = 10
        keepalive = "0s"
        descriptor_refresh = "1d"
        max_message_bytes = 4096.5
        metadata = { X-Team = "a", grpc-x = "a", x-bin = "a", ok = "\\u00e9", n = 3 }
        tls = { ca = "no.pem", cert = "gateway.toml", nope = 1 }
        [[backends]]
        name = "two words"
        target = "http://h:1"
        operations = 7
        metadata = []
        tls = true
        [[backends]]
        target = ""
        name = "one"
        [[backends]]
        name = "three"
        operations = ["*/x"]
        """
    )
    no_key = (
        "is not a metadata key: lower case letters, digits and _ . - are allowed;"
        " a key cannot begin with grpc- or end with -bin"
    )
    target = 'a target is needed, such as "127.0.0.1:50051", without spaces around it'
    name = "a name has 1 to 128 letters, digits and . _ : -, and begins with a letter or digit"
    one = "gateway.toml: backends[0]"
    two = "gateway.toml: backends[1]"
    assert sorted(mistakes(file, ["=h:1", "x="])) == sorted(
        [
            "gateway.toml: sever: there is no such key; did you mean server?",
            "gateway.toml: port: there is no such key here; did you mean port, under [server]?",
            "gateway.toml: server.port: a whole number is needed, without quotes",
            "gateway.toml: server.host: text in quotes is needed",
            "gateway.toml: server.portt: there is no such key; did you mean port?",
            "gateway.toml: server.max_body_bytes: a whole number is needed, without quotes",
            f"{one}.taget: there is no such key; did you mean target?",
            (
                f"{one}.operations[1]: 'a//b': the segment '' is neither a literal, *, **,"
                " {variable} nor {variable=**}"
            ),
            f"{one}.operations[2]: 'x/{{id}}' and 'y/{{ix}}' do not share the variables id, ix",
            f"{one}.operations[3]: this is neither a pattern nor a pair of patterns",
            f"{one}.descriptors[1]: there is no file no.binpb",
            f"{one}.descriptors[2]: there is no installed module 'no_such_module'",
            f"{one}.descriptors[3]: there is no installed module ''",
            f"{one}.descriptors[4]: text in quotes is needed",
            f'{one}.list_name: "parent" or "collection" is needed',
            f"{one}.max_page_size: must be at least 1",
            f'{one}.deadline: the unit is missing: write "10s" for seconds',
            f"{one}.keepalive: must be more than 0s and at most 1h",
            f"{one}.descriptor_refresh: must be more than 0s and at most 1h",
            f"{one}.max_message_bytes: a whole number is needed, without quotes",
            f"{one}.metadata.X-Team: 'X-Team' {no_key}",
            f"{one}.metadata.grpc-x: 'grpc-x' {no_key}",
            f"{one}.metadata.x-bin: 'x-bin' {no_key}",
            f"{one}.metadata.ok: the value has characters that are not printable ASCII",
            f"{one}.metadata.n: text in quotes is needed",
            f"{one}.tls.ca: there is no file no.pem",
            f"{one}.tls.nope: there is no such key; the keys are ca, cert, key, server_name",
            f"{two}.name: {name}",
            f'{two}.target: a target is not a URL: write target = "h:1"',
            f"{two}.operations: a list of patterns is needed",
            f"{two}.metadata: a table is needed, such as {{}}",
            f"{two}.tls: a table is needed, such as {{}}",
            f"gateway.toml: backends[2].target: {target}",
            "gateway.toml: backends[3].target: is missing",
            f"--backend =h:1: name: {name}",
            f"--backend x=: target: {target}",
            (
                "gateway.toml: backends[2]: the name 'one' is taken by gateway.toml: backends[0];"
                " give one of them another name"
            ),
        ]
    )


def test_a_certificate_without_its_key_is_a_mistake(write: Write) -> None:
    """TLS cannot use a certificate alone or a key alone."""
    file = write('[[backends]]\nname = "a"\ntarget = "h:1"\ntls = { cert = "gateway.toml" }')
    assert mistakes(file) == [
        (
            "gateway.toml: backends[0].tls:"
            " cert and key must be set together, and one of them is missing"
        )
    ]


def test_patterns_that_overlap_are_reported_beside_other_mistakes(write: Write) -> None:
    """A pattern of one backend can overlap a pair of another backend."""
    file = write(
        """
        [[backends]]
        name = "a"
        target = "h:1"
        operations = ["projects/*/operations/*"]
        mistake = true
        [[backends]]
        name = "b"
        target = "h:1"
        operations = [{ "{id}" = "projects/b/operations/{id}" }]
        """
    )
    assert mistakes(file) == [
        (
            "gateway.toml: backends[0].mistake: there is no such key; the keys are in"
            " gateway.example.toml"
        ),
        (
            "gateway.toml: backends[1].operations: 'projects/b/operations/{id}' and"
            " 'projects/*/operations/*' of gateway.toml: backends[0] match some of the same names;"
            " narrow one pattern, or map one to other names"
            ' ({"own/form/{id}" = "other/form/{id}"}),'
            " or remove both and name the backend in each call"
        ),
    ]


@pytest.mark.parametrize("description", ["x" * 201, "two\nlines"])
def test_a_description_is_one_short_line(description: str) -> None:
    """It stands in the schema of each tool that has the argument `backend`."""
    with pytest.raises(ValidationError, match="one line of at most 200 characters"):
        BackendConfig(name="b", target="h:1", description=description)
    assert BackendConfig(name="b", target="h:1", description="x" * 200).description == "x" * 200


@pytest.mark.parametrize(
    ("written", "duration"),
    [
        ("1s", timedelta(seconds=1)),
        ("0.25s", timedelta(milliseconds=250)),
        ("500ms", timedelta(milliseconds=500)),
        ("10m", timedelta(minutes=10)),
        ("1h", timedelta(hours=1)),
        ("0h1m30s", timedelta(seconds=90)),
        ("600s", timedelta(minutes=10)),
    ],
)
def test_a_duration_has_units(write: Write, written: str, duration: timedelta) -> None:
    """Each part of a duration has its unit, such as "1m30s"."""
    file = write(f'[[backends]]\nname = "a"\ntarget = "h:1"\ndeadline = "{written}"')
    assert load(file).backends[0].deadline == duration


def test_every_key_that_takes_a_duration_takes_all_units(write: Write) -> None:
    """Lists of durations and durations of the server are no exceptions."""
    file = write(
        """
        [server]
        sync_grace = "1500ms"
        [[backends]]
        name = "a"
        target = "h:1"
        deadline = "1m"
        keepalive = "2m"
        poll_intervals = ["500ms", "1m", "0.5h"]
        freshness = "100ms"
        descriptor_refresh = "1h"
        """
    )
    config = load(file)
    assert config.server.sync_grace == timedelta(seconds=1.5)
    assert config.backends[0].model_dump(
        include={"deadline", "keepalive", "poll_intervals", "freshness", "descriptor_refresh"}
    ) == {
        "deadline": timedelta(minutes=1),
        "keepalive": timedelta(minutes=2),
        "poll_intervals": (
            timedelta(seconds=0.5),
            timedelta(minutes=1),
            timedelta(minutes=30),
        ),
        "freshness": timedelta(seconds=0.1),
        "descriptor_refresh": timedelta(hours=1),
    }


@pytest.mark.parametrize("written", ["10", "1.5", "-3", "0"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_duration_without_a_unit_is_a_mistake(write: Write, written: str, quote: str) -> None:
    """A bare number could be seconds or milliseconds. The message has the right form."""
    file = write(f'[[backends]]\nname = "a"\ntarget = "h:1"\ndeadline = {quote}{written}{quote}')
    assert mistakes(file) == [
        f'gateway.toml: backends[0].deadline: the unit is missing: write "{written}s" for seconds'
    ]


@pytest.mark.parametrize(
    "written",
    ['"s"', '""', "true", "[]", '"10 minutes"', '"10min"', '"10S"', '"1e3s"', f'"{"9" * 30}h"'],
)
def test_a_duration_in_another_form_is_a_mistake(write: Write, written: str) -> None:
    """The message has examples of the right form."""
    file = write(f'[[backends]]\nname = "a"\ntarget = "h:1"\ndeadline = {written}')
    assert mistakes(file) == [
        (
            "gateway.toml: backends[0].deadline: a duration is needed, such as"
            ' "10s", "0.5s", "500ms", "10m" or "1h30m"'
        )
    ]


@pytest.mark.parametrize("written", ['"0s"', '"-1s"', '"3601s"', '"1h1s"', '"2d"'])
def test_a_duration_out_of_bounds_is_a_mistake(write: Write, written: str) -> None:
    """A duration is more than zero and at most an hour."""
    file = write(f'[[backends]]\nname = "a"\ntarget = "h:1"\ndeadline = {written}')
    assert mistakes(file) == [
        "gateway.toml: backends[0].deadline: must be more than 0s and at most 1h"
    ]


@pytest.mark.parametrize("options", [(), ("b=h:1",)])
def test_backends_must_be_written_as_a_list(write: Write, options: tuple[str, ...]) -> None:
    """The mistake is [backends] in place of [[backends]]; `--backend` options do not hide it."""
    file = write('[backends]\nname = "a"\ntarget = "h:1"')
    assert mistakes(file, options) == [
        "gateway.toml: backends: write each backend under [[backends]]"
    ]


def test_a_file_may_have_a_byte_order_mark(write: Write) -> None:
    """Some editors write one at the start of each file."""
    file = write("[server]\nport = 1")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load(file).server.port == 1


def test_a_value_out_of_bounds_is_reported_with_its_bound(write: Write) -> None:
    """A bound may be allowed itself, or not."""
    file = write(
        """
        [server]
        port = 65536
        [[backends]]
        name = "a"
        target = "h:1"
        max_message_bytes = 1
        polls_per_second = 0
        descriptors = ["Reflecton", ""]
        """
    )
    assert mistakes(file) == [
        "gateway.toml: server.port: must be at most 65535",
        (
            "gateway.toml: backends[0].descriptors[0]: there is no source 'Reflecton'; did you mean"
            ' "reflection"?'
        ),
        "gateway.toml: backends[0].descriptors[1]: the path of a file is needed",
        "gateway.toml: backends[0].polls_per_second: must be more than 0.0",
        "gateway.toml: backends[0].max_message_bytes: must be at least 1024",
    ]


def test_an_entry_that_is_not_a_table_is_a_mistake(write: Write) -> None:
    """The message names the entry by its index."""
    assert mistakes(write("backends = [3]")) == [
        "gateway.toml: backends[0]: a table is needed, such as {}"
    ]


def test_a_file_that_cannot_be_read_is_a_mistake(write: Write, tmp_path: Path) -> None:
    """The file may be missing, be a directory, not be TOML, or not be UTF-8."""
    assert mistakes(tmp_path / "no.toml") == ["no.toml: cannot be read: No such file or directory"]
    (tmp_path / "directory").mkdir()
    assert mistakes(tmp_path / "directory") == ["directory: cannot be read: Is a directory"]
    (not_toml,) = mistakes(write("[server"))
    assert not_toml.startswith("gateway.toml: is not TOML: ")
    file = tmp_path / "gateway.toml"
    file.write_bytes(b'host = "\xff"')
    (not_text,) = mistakes(file)
    assert not_text.startswith("gateway.toml: is not TOML: 'utf-8' codec can't decode")


def test_a_module_that_fails_when_it_is_imported_is_a_mistake(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway imports the package of a module, and that import can raise any exception."""
    (tmp_path / "failing_package").mkdir()
    (tmp_path / "failing_package" / "__init__.py").write_text("raise RuntimeError('too old')")
    monkeypatch.syspath_prepend(tmp_path)
    file = write(
        """
        [[backends]]
        name = "a"
        target = "h:1"
        descriptors = ["module:failing_package.x_pb2"]
        """
    )
    assert mistakes(file) == [
        (
            "gateway.toml: backends[0].descriptors[0]:"
            " module 'failing_package.x_pb2' cannot be imported: too old"
        )
    ]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - the test expects that this is not loopback
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_an_address_is_loopback_only_if_no_other_machine_reaches_it(
    host: str, loopback: bool
) -> None:
    """An unknown host name does not count as loopback."""
    assert ServerConfig(host=host).is_loopback is loopback


def test_patterns_of_methods_that_can_match_nothing_are_refused(write: Write) -> None:
    """A pattern is compared with `pkg.Service/Method`, so a name without `/` matches nothing."""
    file = write(
        """
        [[backends]]
        name = "a"
        target = "h:1"
        methods = ["acme.v1.Databases/Get*", "GetDatabase"]
        exclude_methods = ["*"]
        confirm = ["*/Delete*", "delete operation"]
        hints = { "Purge" = { destructive = true }, "*/Purge" = { destroys = true } }
        """
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    text = (
        'is not a pattern of methods; examples are "acme.v1.Databases/GetDatabase" and "*/Delete*"'
    )
    assert caught.value.mistakes == (
        f"{file}: backends[0].methods[1]: 'GetDatabase' {text}",
        f"{file}: backends[0].confirm[1]: 'delete operation' {text}",
        f"{file}: backends[0].hints.Purge: 'Purge' {text}",
        (
            f"{file}: backends[0].hints.*/Purge.destroys: there is no such key; the keys are"
            " read_only, destructive, idempotent"
        ),
    )


@pytest.mark.parametrize("wait", ["0s", "51s"])
def test_the_default_of_a_wait_is_at_most_the_maximum(wait: str, write: Write) -> None:
    """A wait of 0 s would be a read, and a wait of a minute outlasts many clients."""
    file = write(f'[server]\ndefault_wait = "{wait}"')
    with pytest.raises(ConfigError, match="must be more than 0s and at most 50s"):
        load(file)


@pytest.mark.parametrize("grace", ["-1s", "31s"])
def test_the_grace_is_at_most_30_seconds(grace: str, write: Write) -> None:
    """A longer grace would make each start of an operation seem to hang."""
    file = write(f'[server]\nsync_grace = "{grace}"')
    with pytest.raises(ConfigError, match="must be at least 0s and at most 30s"):
        load(file)

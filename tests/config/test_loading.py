"""Reading the configuration: valid files load, and all mistakes are reported at once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from lro_gateway.config.loading import ConfigError, load
from lro_gateway.config.models import BackendConfig, GatewayConfig, ServerConfig
from lro_gateway.operations.names import NameMapping

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a configuration file."""

    def write(text: str) -> Path:
        file = tmp_path / "gateway.toml"
        file.write_text(dedent(text), encoding="utf-8")
        return file

    return write


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
        "metadata": {"x-team": "infra"},
        "tls": {"ca": file.parent / "ca.pem"},
    }


def test_a_backend_needs_a_name_and_a_target_only() -> None:
    """Every other key has the default that the documentation states."""
    assert BackendConfig(name="b", target="h:1").model_dump() == {
        "name": "b",
        "target": "h:1",
        "operations": (),
        "descriptors": ("reflection",),
        "list_name": "parent",
        "default_parent": "",
        "max_page_size": 1000,
        "deadline": timedelta(seconds=10),
        "keepalive": timedelta(seconds=60),
        "methods": (),
        "exclude_methods": (),
        "confirm": (),
        "hints": {},
        "poll_intervals": (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30)),
        "polls_per_second": 100.0,
        "freshness": timedelta(milliseconds=200),
        "progress_fields": (),
        "descriptor_refresh": timedelta(minutes=5),
        "max_message_bytes": 4 * 1024 * 1024,
        "metadata": {},
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


@pytest.mark.parametrize(
    ("option", "name", "target"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051", "127.0.0.1:50051"),
        ("builds=127.0.0.1:50051", "builds", "127.0.0.1:50051"),
        ("b=[::1]:50051", "b", "[::1]:50051"),
        ("b=unix:/run/b.sock", "b", "unix:/run/b.sock"),
        ("b=dns:///host:1?x=y", "b", "dns:///host:1?x=y"),
    ],
)
def test_a_backend_option_is_a_target_with_or_without_a_name(
    option: str, name: str, target: str
) -> None:
    """Without a name, the target is the name of the backend too."""
    assert load(None, [option]) == GatewayConfig(
        backends=(BackendConfig(name=name, target=target),)
    )


def test_backends_of_options_follow_the_backends_of_a_file(write: Write) -> None:
    """No option may have the name of a backend in the file."""
    file = write('[[backends]]\nname = "a"\ntarget = "h:1"')
    assert [backend.name for backend in load(file, ["b=h:2"]).backends] == ["a", "b"]
    assert mistakes(file, ["a=h:2"]) == [
        "--backend a=h:2: the name 'a' is taken by gateway.toml: backends[0]"
    ]


def test_every_mistake_is_reported_at_once_with_its_location(write: Write) -> None:
    """Mistakes are unknown keys, wrong types, invalid values, missing files and conflicts."""
    file = write(
        """
        sever = {}
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
        descriptor_refresh = "1h"
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
    duration = 'a duration in seconds is needed, such as "10s" or "0.5s"'
    no_key = (
        "is not a metadata key: lower case letters, digits and _ . - are allowed;"
        " a key cannot begin with grpc- or end with -bin"
    )
    target = "HOST:PORT is needed, without http:// or https://; set tls = {} for TLS"
    name = "a name has 1 to 128 letters, digits and . _ : -, and begins with a letter or digit"
    one = "gateway.toml: backends[0]"
    two = "gateway.toml: backends[1]"
    assert sorted(mistakes(file, ["=h:1", "x="])) == sorted(
        [
            "gateway.toml: sever: there is no such key",
            "gateway.toml: server.port: a whole number is needed, without quotes",
            "gateway.toml: server.host: text in quotes is needed",
            "gateway.toml: server.portt: there is no such key",
            "gateway.toml: server.max_body_bytes: a whole number is needed, without quotes",
            f"{one}.taget: there is no such key",
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
            f"{one}.list_name: Input should be 'parent' or 'collection'",
            f"{one}.max_page_size: Input should be greater than or equal to 1",
            f"{one}.deadline: {duration}",
            f"{one}.keepalive: must be more than 0s and at most 3600s",
            f"{one}.descriptor_refresh: {duration}",
            f"{one}.max_message_bytes: a whole number is needed, without quotes",
            f"{one}.metadata.X-Team: 'X-Team' {no_key}",
            f"{one}.metadata.grpc-x: 'grpc-x' {no_key}",
            f"{one}.metadata.x-bin: 'x-bin' {no_key}",
            f"{one}.metadata.ok: the value has characters that are not printable ASCII",
            f"{one}.metadata.n: text in quotes is needed",
            f"{one}.tls.ca: there is no file no.pem",
            f"{one}.tls.nope: there is no such key",
            f"{two}.name: {name}",
            f"{two}.target: {target}",
            f"{two}.operations: a list of patterns is needed",
            f"{two}.metadata: a table is needed, such as {{}}",
            f"{two}.tls: a table is needed, such as {{}}",
            f"gateway.toml: backends[2].target: {target}",
            "gateway.toml: backends[3].target: is missing",
            f"--backend =h:1: name: {name}",
            f"--backend x=: target: {target}",
            "gateway.toml: backends[2]: the name 'one' is taken by gateway.toml: backends[0]",
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
        "gateway.toml: backends[0].mistake: there is no such key",
        (
            "gateway.toml: backends[1].operations: 'projects/b/operations/{id}' and"
            " 'projects/*/operations/*' of gateway.toml: backends[0] match some of the same names;"
            " narrow one pattern, or map one to other names"
            ' ({"own/form/{id}" = "other/form/{id}"}),'
            " or remove both and name the backend in each call"
        ),
    ]


@pytest.mark.parametrize(
    ("written", "duration"),
    [('"1s"', timedelta(seconds=1)), ('"0.25s"', timedelta(milliseconds=250))],
)
def test_a_duration_is_seconds_with_an_s(write: Write, written: str, duration: timedelta) -> None:
    """A duration has the form of ProtoJSON, such as "0.25s"."""
    file = write(f'[[backends]]\nname = "a"\ntarget = "h:1"\ndeadline = {written}')
    assert load(file).backends[0].deadline == duration


@pytest.mark.parametrize("written", ['"10"', '"1m"', '"s"', '""', "10", "1.5", "true", "[]"])
def test_a_duration_in_another_form_is_a_mistake(write: Write, written: str) -> None:
    """A bare number would not show its unit."""
    file = write(f'[[backends]]\nname = "a"\ntarget = "h:1"\ndeadline = {written}')
    assert mistakes(file) == [
        (
            "gateway.toml: backends[0].deadline:"
            ' a duration in seconds is needed, such as "10s" or "0.5s"'
        )
    ]


@pytest.mark.parametrize("written", ['"0s"', '"-1s"', '"3601s"'])
def test_a_duration_out_of_bounds_is_a_mistake(write: Write, written: str) -> None:
    """A duration is more than zero and at most an hour."""
    file = write(f'[[backends]]\nname = "a"\ntarget = "h:1"\ndeadline = {written}')
    assert mistakes(file) == [
        "gateway.toml: backends[0].deadline: must be more than 0s and at most 3600s"
    ]


@pytest.mark.parametrize("options", [(), ("b=h:1",)])
def test_backends_must_be_written_as_a_list(write: Write, options: tuple[str, ...]) -> None:
    """The mistake is [backends] in place of [[backends]]; `--backend` options do not hide it."""
    file = write('[backends]\nname = "a"\ntarget = "h:1"')
    assert mistakes(file, options) == [
        "gateway.toml: backends: write each backend under [[backends]]"
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
        f"{file}: backends[0].hints.*/Purge.destroys: there is no such key",
    )


def test_keys_are_read_from_files_and_from_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is base64 on any number of lines; `repr` never shows a key."""
    first, second = bytes(range(32)), bytes(range(40))
    file = write('[server]\nkeys = ["env:TEST_KEY", "ring/second"]')
    monkeypatch.setenv("TEST_KEY", base64.b64encode(first).decode())
    (file.parent / "ring").mkdir()
    (file.parent / "ring" / "second").write_bytes(base64.encodebytes(second))
    loaded = load(file)
    assert [key.get_secret_value() for key in loaded.server.keys] == [first, second]
    assert base64.b64encode(first).decode() not in repr(loaded)
    assert repr(first)[2:-1] not in repr(loaded)


def test_keys_that_cannot_be_used_are_refused_without_showing_them(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message names the location of the key and the reason."""
    keys = ["env:NO_KEY", "none", "text", "bytes", "env:SHORT", "env:EMPTY"]
    file = write(f"[server]\nkeys = {keys}")
    (file.parent / "text").write_text("sesame, open")
    (file.parent / "bytes").write_bytes(b"\xff\x00")
    monkeypatch.setenv("SHORT", "c2VzYW1l")
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(ConfigError) as caught:
        load(file)
    needed = "at least 32 random bytes are needed, such as the output of `openssl rand -base64 32`"
    location = f"{file}: server.keys"
    assert caught.value.mistakes == (
        f"{location}[0]: the environment has no variable 'NO_KEY'",
        f"{location}[1]: there is no file {file.parent / 'none'}",
        f"{location}[2]: the content of text is not base64",
        f"{location}[3]: {file.parent / 'bytes'} cannot be read, or is not base64",
        f"{location}[4]: the key in env:SHORT has 6 bytes; {needed}",
        f"{location}[5]: the key in env:EMPTY has 0 bytes; {needed}",
    )


@pytest.mark.parametrize("grace", ["-1s", "31s"])
def test_the_grace_is_at_most_30_seconds(grace: str, write: Write) -> None:
    """A longer grace would make each start of an operation seem to hang."""
    file = write(f'[server]\nsync_grace = "{grace}"')
    with pytest.raises(ConfigError, match="must be at least 0s and at most 30s"):
        load(file)

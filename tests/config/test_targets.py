"""Targets of backends: the forms that gRPC takes, the names that follow, and the mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lro_gateway.config.loading import ConfigError, load


@pytest.mark.parametrize(
    ("option", "name", "target"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051", "127.0.0.1:50051"),
        ("builds=127.0.0.1:50051", "builds", "127.0.0.1:50051"),
        ("Builds.internal:443", "Builds.internal:443", "Builds.internal:443"),
        ("_builds_.:1", "builds_.:1", "_builds_.:1"),
        ("[::1]:50051", "ipv6:::1:50051", "[::1]:50051"),
        ("b=[::1]:50051", "b", "[::1]:50051"),
        ("[fe80::1%eth0]:1", "ipv6:fe80::1-eth0:1", "[fe80::1%eth0]:1"),
        ("ipv6:[::1]:1,[::2]:1", "ipv6:::1:1-::2:1", "ipv6:[::1]:1,[::2]:1"),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", "10.0.0.1:1-10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1"),
        ("unix:/run/b.sock", "unix:run-b.sock", "unix:/run/b.sock"),
        ("unix:///run/b.sock", "unix:run-b.sock", "unix:/run/b.sock"),
        ("UNIX:/run/B.sock", "unix:run-B.sock", "unix:/run/B.sock"),
        ("b=unix:/run/b.sock", "b", "unix:/run/b.sock"),
        ("unix:/run/a=b.sock", "unix:run-a-b.sock", "unix:/run/a=b.sock"),
        ("b=unix:/run/a=b.sock", "b", "unix:/run/a=b.sock"),
        ("unix:/run/two words", "unix:run-two-words", "unix:/run/two words"),
        ("unix-abstract:builds", "unix-abstract:builds", "unix-abstract:builds"),
        ("dns:///h:1", "h:1", "dns:///h:1"),
        ("DNS:h:1", "h:1", "dns:h:1"),
        ("dns://8.8.8.8:53/h:1", "h:1", "dns://8.8.8.8:53/h:1"),
        ("b=dns:///host:1?x=y", "b", "dns:///host:1?x=y"),
        ("dns:///host:1?x=y", "host:1", "dns:///host:1?x=y"),
        ("xds:///builds", "xds:builds", "xds:///builds"),
    ],
)
def test_a_backend_option_is_a_target_with_or_without_a_name(
    option: str, name: str, target: str
) -> None:
    """Without a name, the name follows from the target and has no character that a name cannot."""
    (backend,) = load(None, [option]).backends
    assert (backend.name, backend.target) == (name, target)


def test_a_relative_socket_is_relative_to_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path in a file is relative to the file, and one of an option to the working directory."""
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "gateway.toml"
    file.write_text('[[backends]]\nname = "a"\ntarget = "unix:a.sock"')
    monkeypatch.chdir(tmp_path)
    assert [backend.target for backend in load(file, ["unix:b.sock"]).backends] == [
        f"unix:{tmp_path}/etc/a.sock",
        f"unix:{tmp_path}/b.sock",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [("h:1", "dns:///h:1"), ("unix:/run/b.sock", "unix:///run/b.sock"), ("unix:/a/b", "unix:/a-b")],
)
def test_two_targets_never_get_one_name_silently(one: str, other: str) -> None:
    """The message names both options, and says what to do."""
    with pytest.raises(ConfigError) as caught:
        load(None, [one, other])
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"--backend {other}: the name ")
    assert mistake.endswith(f"is taken by --backend {one}; give one of them another name")


PORT = 'the port is missing: write "{}:PORT" with the port of the backend'


@pytest.mark.parametrize(
    ("target", "cure"),
    [
        ("", "a target is needed"),
        (" h:1", "without spaces around it"),
        ("h:1\n", "without spaces around it"),
        ("h", PORT.format("h")),
        ("h:", PORT.format("h")),
        ("[::1]", PORT.format("[::1]")),
        ("dns:///h", PORT.format("h")),
        ("::1", 'in brackets and with a port, as in "[::1]:50051"'),
        ("::1:50051", 'in brackets and with a port, as in "[::1]:50051"'),
        ("fe80::1%eth0", 'in brackets and with a port, as in "[::1]:50051"'),
        ("ipv6:::1:50051", "is not an IPv6 address in brackets with a port"),
        ("ipv4:localhost:1", "is not an IPv4 address with a port"),
        ("ipv4:10.0.0.1", "is not an IPv4 address with a port"),
        ("[h]:1", "'[h]' is not a host"),
        (":50051", "'' is not a host; HOST:PORT is needed"),
        ("*:50051", "'*' is not a host"),
        ("user@h:1", "'user@h' is not a host"),
        ("two words:1", "'two words' is not a host"),
        ("h:abc", "the port 'abc' is not a number from 1 to 65535"),
        ("h:0", "the port '0' is not a number"),
        ("h:65536", "the port '65536' is not a number"),
        ("h:\u0663", "the port '\u0663' is not a number"),
        ("h:1/x", "the port '1/x' is not a number"),
        ("http://h:50051", 'a target is not a URL: write target = "h:50051"'),
        ("http://h", 'write target = "h:80"'),
        ("https://h", 'write target = "h:443" and tls = {}'),
        ("HTTPS://user@h:1/x?y", 'write target = "h:1" and tls = {}'),
        ("grpcs://[::1]", 'write target = "[::1]:443" and tls = {}'),
        ("grpc://h:1", 'write target = "h:1"'),
        ("kubernetes:///builds", "kubernetes:// is not one of the forms"),
        ("dns://h:1", 'write three slashes, as in "dns:///h:1"'),
        ("dns://8.8.8.8/h:1", "the DNS server '8.8.8.8' is not an address with a port"),
        ("dns://8.8.8.8:99999/h:1", "the port '99999' is not a number from 1 to 65535"),
        ("dns://[2001:4860::1]:0/h:1", "the port '0' is not a number from 1 to 65535"),
        ("ipv4:10.0.0.1:1,10.0.0.2:0", "the port '0' is not a number from 1 to 65535"),
        ("ipv6:[::1]:70000", "the port '70000' is not a number from 1 to 65535"),
        ("xds:///builds:99999", "the port '99999' is not a number from 1 to 65535"),
        ("/run/b.sock", 'write the path of a socket as "unix:/PATH"'),
        ("./b.sock", 'write the path of a socket as "unix:/PATH"'),
        ("unix:", "the path of the socket is missing"),
        ("unix-abstract:", "the name of the socket is missing"),
        ("unix://run/b.sock", 'write one slash or three, as in "unix:/run/b.sock"'),
        ("unix:/run/b?.sock", "write ? as %3F"),
        ("unix:/" + "b" * 107, "has 108 bytes, and the operating system allows at most 107"),
    ],
)
def test_a_target_that_cannot_work_is_refused_with_its_cure(
    tmp_path: Path, target: str, cure: str
) -> None:
    """With such a target, gRPC would only report at the first call that a host does not exist."""
    with pytest.raises(ConfigError) as caught:
        load(None, [f"b={target}"])
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"--backend b={target}: target: ")
    assert cure in mistake
    file = tmp_path / "gateway.toml"
    escaped = target.replace("\n", "\\n")
    file.write_text(f'[[backends]]\nname = "b"\ntarget = "{escaped}"', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"{file}: backends[0].target: ")
    assert cure in mistake


@pytest.mark.parametrize("target", ["", "h", "::1", "https://h", "/run/b.sock", "-", "unix:"])
def test_a_wrong_target_without_a_name_is_one_mistake(target: str) -> None:
    """The name that follows from a wrong target is not reported as a second mistake."""
    with pytest.raises(ConfigError) as caught:
        load(None, [target])
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"--backend {target}: target: ")

"""The wheel and the sdist have all that an installation and its tests need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import Parser
from pathlib import Path
from typing import Final

import pytest

from lro_gateway import __version__

ROOT: Final = Path(__file__).parents[1]


def run(*command: str, directory: Path, path: Path | None = None) -> str:
    """Run a Python program to its end; return what it prints."""
    variables = {"PYTHONPATH": str(path)} if path else {}
    return subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=100,
    ).stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both packages into a directory."""
    directory = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "--directory", str(directory), directory=ROOT)
    return directory


def test_an_installed_wheel_has_every_file_of_the_package(built: Path, tmp_path: Path) -> None:
    """The command and the demo run from the installed files, with their pages and descriptors."""
    (wheel,) = built.glob("*.whl")
    pip = ("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(tmp_path))
    run(*pip, "--quiet", "--disable-pip-version-check", str(wheel), directory=tmp_path)
    package = ROOT / "lro_gateway"
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.startswith("lro_gateway/")} == ours
    command = str(tmp_path / "bin" / "lro-gateway")
    assert run(command, "--version", directory=tmp_path, path=tmp_path) == f"{__version__}\n"
    with served(command, directory=tmp_path) as url:
        with urllib.request.urlopen(f"{url}/v1/operations") as answer:  # noqa: S310 - it is HTTP
            operations = json.load(answer)["operations"]
        assert operations[0]["metadata"]["@type"].endswith(".CreateDatabaseMetadata")
        with urllib.request.urlopen(f"{url}/docs") as answer:  # noqa: S310 - as above
            assert b"swagger" in answer.read()


@contextmanager
def served(command: str, *, directory: Path) -> Iterator[str]:
    """Run the demo from the files in a directory; yield the URL of its gateway."""
    process = subprocess.Popen(
        [sys.executable, command, "demo", "--port", "0"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process.stdout.readline().split()[3].rstrip(",")
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.wait(60) == 0


def test_the_metadata_say_what_the_package_is(built: Path) -> None:
    """The version is that of the package, and the description is the README."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    assert (metadata["Name"], metadata["Version"]) == ("lro-gateway", __version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()


def test_the_tests_of_the_sdist_run(built: Path, tmp_path: Path) -> None:
    """A packager of a distribution runs them without a checkout."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    for path in ("docs/cli.md", "scripts/test", "gateway.example.toml", "proto", ".ci/run"):
        assert (unpacked / path).exists(), path
    files = ("tests/operations/test_names.py", "tests/test_errors.py")
    printed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *files, directory=unpacked)
    assert " passed" in printed

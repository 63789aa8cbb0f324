"""A PostgreSQL server of the tests, which runs as an unprivileged user."""

from __future__ import annotations

import fcntl
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

PASSWORD: Final = "correct-horse-battery"  # noqa: S105 - only the server of one test run knows it
_USERS: Final = ("postgres", "nobody")
_PLACE: Final = Path("/tmp")  # noqa: S108 - the path of a socket must be short
_PREFIX: Final = "lro-pg-"
_SETTINGS: Final = (
    *("listen_addresses=", "shared_buffers=16MB", "max_connections=40", "jit=off"),
    *("max_parallel_workers_per_gather=0", "autovacuum_max_workers=1"),
)


def _program(name: str) -> str:
    """Return the path of a program. Without PostgreSQL a test is skipped, or fails in CI."""
    found = shutil.which(name) or next(
        (str(each) for each in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None
    )
    if found is None:
        problem = "PostgreSQL is not installed; run scripts/setup --tests as root on Debian"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)
    return found


def _user() -> dict[str, Any]:
    """Return the options of a process that must not run as root."""
    if os.getuid() != 0:
        return {}
    names = {each.pw_name for each in pwd.getpwall()}
    user = next(each for each in _USERS if each in names)
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


@dataclass
class PostgreSql:
    """A server whose files are in a directory. It listens at a Unix socket there."""

    directory: Path
    is_durable: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def dsn(self, database: str = "postgres") -> str:
        """Return the connection URI of a database."""
        return f"postgresql://gateway:{PASSWORD}@/{database}?host={self.directory}"

    def create_database(self) -> str:
        """Create an empty database, and return its connection URI."""
        name = f"store_{next(self._numbers)}"
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL, such as `pg_dump`."""
        subprocess.run([_program(program), *arguments], check=True)

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        durable = () if self.is_durable else ("fsync=off", "full_page_writes=off")
        settings = [*_SETTINGS, *durable, f"unix_socket_directories={self.directory}"]
        options = [part for each in settings for part in ("-c", each)]
        self._process = subprocess.Popen(
            [_program("postgres"), "-D", str(self.directory / "data"), *options],
            stderr=subprocess.DEVNULL,
            **_user(),
        )
        ready = [_program("pg_isready"), "-q", "-h", str(self.directory), "-t", "1"]
        while subprocess.run(ready, check=False).returncode != 0:
            assert self._process.poll() is None, "the server ended before it was ready"

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT disconnects its clients, and SIGQUIT is as a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop all processes of the server as they are. Its clients wait."""
        self._send_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._send_all(signal.SIGCONT)

    def _send_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        pid = self._process.pid
        # The first one is stopped first, and then starts no further ones.
        self._process.send_signal(number)
        for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(each), number)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock a new directory, which shows that its process runs."""
    # Nobody can take the lock before this process has it.
    made = directory / "lock.new"
    with made.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.rename(directory / "lock")
        yield


def _remove_left() -> None:
    """Remove the servers and the directories that tests have left which were killed."""
    for left in _PLACE.glob(f"{_PREFIX}*"):
        with suppress(OSError), (left / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):
                pid = int((left / "data" / "postmaster.pid").read_text().split()[0])
                if str(left).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGQUIT)
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def postgresql(*, is_durable: bool = False, place: Path = _PLACE) -> Iterator[PostgreSql]:
    """Run a server until the context ends. It writes to the disk only if it is durable."""
    initdb, user = _program("initdb"), _user()
    _remove_left()
    # Another user must be able to reach the directory.
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    try:
        with _locked(directory):
            _initialize(initdb, directory, user)
            server = PostgreSql(directory, is_durable)
            server.start()
            try:
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(directory)


def _initialize(initdb: str, directory: Path, user: Mapping[str, Any]) -> None:
    """Make the files of a server."""
    if user:
        shutil.chown(directory, user["user"], user["group"])
    password = directory / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    options = ["-U", "gateway", "--pwfile", str(password), "--auth=scram-sha-256"]
    options += ["--no-sync", "--no-locale", "--encoding=UTF8"]
    subprocess.run(
        [initdb, "-D", str(directory / "data"), *options],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=directory,
        **user,
    )

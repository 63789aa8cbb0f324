"""Starts `lro-gateway` as a fork of a process that has imported what the command imports.

An import of the server takes most of the time of a start, and the tests start hundreds of commands.
Each is a process of its own and a child of the tests, with its own arguments, environment, streams
and directory, and runs the same script. Only its modules, except those of `lro_gateway.commands`,
are imported before. Each start imports them where this is not possible: on other systems than
Linux, with another version of `subprocess`, and before the modules are imported. The tests of the
start itself, such as those of workers and of signals, ask for that by the fixture `_imported_anew`.

The process that forks runs this file as a script. For each request it forks twice, and the process
in the middle ends at once. The tests are the subreaper meanwhile, so the command becomes their
child, and they can wait for it.
"""

from __future__ import annotations

import ctypes
import gc
import inspect
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

COMMAND: Final = str(Path(sys.executable).with_name("lro-gateway"))
_MODULES: Final = (
    *("call", "cli", "approvals", "checking", "demo", "describing", "ending", "listing"),
    *("serving", "storing", "tailing", "token", "waiting"),
)
_IMPORTED_ANEW: Final = "lro_gateway.commands"
"""These modules are small, and look at the streams and the environment when they are imported."""
_SUBREAPER: Final = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_LONGEST: Final = 1 << 20
"""The maximum number of bytes of a request."""
_READY: Final = b"ready"
_EXECUTE: Final = "_execute_child"
_PARAMETERS: Final = (
    *("self", "args", "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env"),
    *("startupinfo", "creationflags", "shell", "p2cread", "p2cwrite", "c2pread", "c2pwrite"),
    *("errread", "errwrite", "restore_signals", "gid", "gids", "uid", "umask"),
    *("start_new_session", "process_group"),
)
"""What a Python must pass to the method for commands to be forked."""


class Forks:
    """The process that forks. It begins to import with the first command, and ends with the tests.

    Until it has imported the modules, commands start as usual, so that no test waits for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._libc = ctypes.CDLL(None)
        self._channel, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def are_ready(self) -> bool:
        """Start the process if there is none; return whether it can fork now."""
        with self._lock:
            if self._process is None:
                number = self._theirs.fileno()
                self._process = subprocess.Popen(
                    [sys.executable, __file__, str(number)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[number],
                )
                self._theirs.close()
            if not self._is_ready and select.select([self._channel], [], [], 0)[0]:
                self._is_ready = self._channel.recv(64) == _READY
            return self._is_ready

    def start(self, request: dict[str, Any], streams: list[int]) -> int | None:
        """Start a command; return the id of its process, which is a child of this one.

        Returns None if the process that forks has ended.
        """
        with self._lock:
            self._libc.prctl(_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._channel, [json.dumps(request).encode()], streams)
                return int(self._channel.recv(64) or 0) or None
            except OSError:
                return None
            finally:
                self._libc.prctl(_SUBREAPER, 0, 0, 0, 0)

    def close(self) -> None:
        """End the process."""
        self._channel.close()
        self._theirs.close()
        if self._process is not None:
            self._process.wait()


@contextmanager
def forked_commands() -> Iterator[None]:
    """Let `subprocess`, which asyncio uses too, start `lro-gateway` in this way in the context."""
    if sys.platform != "linux":
        yield
        return
    # The class has no public method between its arguments and the start.
    original = getattr(subprocess.Popen, _EXECUTE, None)
    if original is None or tuple(inspect.signature(original).parameters) != _PARAMETERS:
        yield
        return
    forks = Forks()
    search_path = os.environ.get("PYTHONPATH", "")

    def start(
        self: Any, args: Any, executable: Any, preexec: Any, close: Any, passed: Any, *rest: Any
    ) -> None:
        (cwd, env), shell, pipes = rest[:2], rest[4], rest[5:11]
        *users, umask, session, group = rest[12:]
        environment = {key: str(value) for key, value in (env or os.environ).items()}
        is_plain = not (preexec or passed or shell or any(each is not None for each in users)) and (
            umask,
            group,
        ) == (-1, -1)
        can_fork = (
            not isinstance(args, str)
            and str(args[0]) == COMMAND
            and is_plain
            # It may have modules that change what a start imports.
            and environment.get("PYTHONPATH", "") == search_path
            and not any(map(_differs, environment.items()))
            and forks.are_ready()
        )
        request = {
            "arguments": [str(each) for each in args],
            "environment": environment,
            "directory": str(cwd or Path.cwd()),
            "is_session": bool(session),
        }
        given = (pipes[0], pipes[3], pipes[5])
        streams = [own if each == -1 else each for own, each in enumerate(given)]
        process = forks.start(request, streams) if can_fork else None
        if process is None:
            original(self, args, executable, preexec, close, passed, *rest)
            return
        self.pid = process
        self._child_created = True
        self._close_pipe_fds(*pipes)

    setattr(subprocess.Popen, _EXECUTE, start)
    try:
        yield
    finally:
        setattr(subprocess.Popen, _EXECUTE, original)
        forks.close()


def _differs(variable: tuple[str, str]) -> bool:
    """Return whether Python reads a variable when it starts, and has read another value here."""
    name, value = variable
    is_read = name.startswith(("PYTHON", "LC_")) or name == "LANG"
    return is_read and os.environ.get(name) != value


def _import() -> dict[str, str]:
    """Import the modules; return the variables of the environment that they have set."""
    before = dict(os.environ)
    gc.disable()
    for name in _MODULES:
        import_module(f"{_IMPORTED_ANEW}.{name}")
    for name in [each for each in sys.modules if each.startswith(_IMPORTED_ANEW)]:
        del sys.modules[name]
    del sys.modules["lro_gateway"].commands
    gc.enable()
    # The forks share these objects, as long as no collection visits them.
    gc.freeze()
    assert threading.active_count() == 1
    return {key: value for key, value in os.environ.items() if before.get(key) != value}


def _await_request(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for each request; return it, with its streams, in the process of its command."""
    while True:
        message, streams, _, _ = socket.recv_fds(channel, _LONGEST, 3)
        if not message:
            os._exit(0)
        reader, writer = os.pipe()
        if (middle := os.fork()) == 0:
            if command := os.fork():
                os.write(writer, str(command).encode())
                os._exit(0)
            for each in (reader, writer):
                os.close(each)
            return json.loads(message), streams
        os.waitpid(middle, 0)
        channel.send(os.read(reader, 64))
        for each in (reader, writer, *streams):
            os.close(each)


def _become(request: dict[str, Any], streams: list[int], variables: dict[str, str]) -> None:
    """Set what a process gets when it starts."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if request["is_session"]:
        os.setsid()
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(variables | request["environment"])
    time.tzset()
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    read = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open
    for name, opened in {"stdin": read, "stdout": _written(1), "stderr": _written(2)}.items():
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", opened)
    sys.argv = request["arguments"]


def _written(number: int) -> io.TextIOWrapper:
    """Return a standard stream that is written to, as Python opens it."""
    is_error = number == 2
    return io.TextIOWrapper(
        open(number, "wb", closefd=False),
        encoding="utf-8",
        errors="backslashreplace" if is_error else None,
        line_buffering=is_error or os.isatty(number),
        write_through="PYTHONUNBUFFERED" in os.environ,
    )


def _main() -> None:
    # As for the script. The folder of this file has folders with the names of packages.
    sys.path[0] = str(Path(COMMAND).parent)
    # Ctrl-C ends the tests, and this process ends with them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    variables = _import()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        channel.send(_READY)
        request, streams = _await_request(channel)
    _become(request, streams, variables)
    runpy.run_path(COMMAND, run_name="__main__")


if __name__ == "__main__":
    _main()

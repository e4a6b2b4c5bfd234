"""Processes that begin with much already imported: one process imports it once, and
forks for each script.

`python tests/warm.py FD` is that process; tests talk to it by `Forked`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

# What takes long to import and reads no variable of ours as it is imported. Gradio and
# huggingface_hub, and what imports them, read ports, names and places then.
IMPORTED = (
    "torch",
    "numpy",
    "cv2",
    "PIL.Image",
    "av",
    "einops",
    "jaxtyping",
    "pandas",
    "httpx",
    "fastapi",
    "uvicorn",
    "mcp.server.fastmcp",
    "typer",
    "rich",
    "jinja2",
    "yaml",
    "tomlkit",
)
EARLY = {"gradio", "gradio_client", "huggingface_hub", "regrain"}


class Forked:
    """A script in a process of its own, as `subprocess.Popen` has it.

    Args:
        command: The script and its arguments.
        cwd: Its folder.
        env: Its variables.
        stdout: The open file that takes what it writes, errors too.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        stdout: IO[str],
    ):
        asked = {"argv": list(command), "cwd": str(cwd), "env": dict(env)}
        self._told, telling = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with telling:
            given = [stdout.fileno(), telling.fileno()]
            socket.send_fds(_warm(), [json.dumps(asked).encode()], given)
        self.pid = self._hear()
        self.returncode: int | None = None

    def _hear(self) -> int:
        said = self._told.recv(99)
        assert said, "the process that forks has ended"
        return int(said)

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while it goes on."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.returncode = self._hear()
            self._told.close()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit code once it has ended."""
        if self.poll() is None and not select.select([self._told], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int):
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


@cache
def _warm() -> socket.socket:
    """Where the process that forks listens; it ends with this one."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        process = subprocess.Popen(
            [sys.executable, __file__, str(there.fileno())],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            pass_fds=[there.fileno()],
        )

    def end():
        here.close()
        process.wait()

    atexit.register(end)
    return here


def main(asked: socket.socket):
    """Import, then fork for each that asks, until nobody can ask any more."""
    for name in IMPORTED:
        with suppress(ImportError):  # of another version of Gradio
            importlib.import_module(name)
    assert not EARLY & sys.modules.keys(), EARLY & sys.modules.keys()
    assert len(os.listdir("/proc/self/task")) == 1, "a fork has no other threads"
    gc.freeze()  # what is shared stays shared
    while True:
        message, fds, _, _ = socket.recv_fds(asked, 1 << 20, 2)
        bury()
        if not message:
            break
        if os.fork() == 0:
            asked.close()
            if not keep(*fds):
                os._exit(0)
            run(**json.loads(message))
            break
        for fd in fds:
            os.close(fd)


def bury():
    """Take leave of keepers that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def keep(output: int, telling: int) -> bool:
    """Fork once more, tell the number of that process and then how it ended; True in
    that process."""
    pid = os.fork()
    if pid == 0:
        os.close(telling)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        return True
    os.close(output)
    os.write(telling, b"%d" % pid)
    status = os.waitpid(pid, 0)[1]
    os.write(telling, b"%d" % os.waitstatus_to_exitcode(status))
    return False


def run(argv: list[str], cwd: str, env: dict[str, str]):
    """The script, as though Python had been started with it."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    tempfile.tempdir = None  # it may have been looked up
    sys.argv, sys.path[0] = argv, str(Path(argv[0]).parent)
    runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))

"""Commands in forks of the test's process, which keep its model, and the faults that
befall them."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from regrain.editing.__main__ import main
from regrain.editing.recipe.events import Event, Progress

Fault = Callable[[], object]


class Ended(NamedTuple):
    """How a command ended: its code, negative for a signal, and what it said on
    stderr."""

    code: int
    said: str


class Started:
    """A command in a process of its own, or what to do instead; a fault is called there
    before it."""

    def __init__(
        self,
        command: list[str] | Callable[[], object],
        folder: Path,
        fault: Fault = lambda: None,
    ):
        self._said = folder / f"said-{os.urandom(4).hex()}.txt"
        self._said.touch()
        self._child = os.fork()
        if not self._child:
            code = 1
            try:
                sink = os.open(self._said, os.O_WRONLY)
                os.dup2(sink, 1)
                os.dup2(sink, 2)
                # past pytest's own
                sys.stdout = sys.stderr = os.fdopen(sink, "w", buffering=1)
                logging.getLogger().handlers.clear()
                fault()
                code = (
                    main(command) if isinstance(command, list) else int(bool(command()))
                )
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(code)

    def end(self) -> Ended:
        """Wait for its end."""
        _, status = os.waitpid(self._child, 0)
        return Ended(os.waitstatus_to_exitcode(status), self._said.read_text())


def small_files(limit: int) -> Fault:
    """A disk on which no file can have more bytes than this."""

    def lower() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return lower


def _before_videos(act: Callable[[Path], object]) -> None:
    """Do something before each video of the results is written."""
    from regrain.editing.pipeline import outputs

    write = outputs.write_video

    def act_and_write(path: Path, *values: object, **options: object) -> None:
        act(path)
        write(path, *values, **options)  # type: ignore[arg-type]

    outputs.write_video = act_and_write


def small_results(limit: int) -> Fault:
    """The same, from when the results are written on."""
    return lambda: _before_videos(lambda path: small_files(limit)())


def die() -> None:
    """End as nothing can be prepared for."""
    os.kill(os.getpid(), signal.SIGKILL)


def _half(path: Path) -> None:
    if path.name != "edited.mp4":
        path.write_bytes(b"half")
        die()


def dies_while(stage: str) -> Fault:
    """The process is killed in a stage: reading, one that a run tells of, or
    writing."""

    def prepare() -> None:
        from regrain.editing.media import reading as clip
        from regrain.editing.pipeline import runner

        if stage == "reading":
            clip.VideoClip.read = lambda *_: die()  # type: ignore[method-assign, assignment]
        elif stage == "writing":
            _before_videos(_half)
        else:
            edit = runner.edit

            def watched(*values: object) -> Iterator[Event]:
                for event in edit(*values):  # type: ignore[arg-type]
                    yield event
                    if (
                        isinstance(event, Progress)
                        and event.stage == stage
                        and event.done > 1
                    ):
                        die()

            runner.edit = watched

    return prepare

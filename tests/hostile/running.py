"""Runs hostile cases, each in a process of its own, forked from one that has loaded
everything."""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.hostile.cases import Answer, Case, judge
from tests.hostile.faults import CONTENT, damage_file, put

SECONDS = 60
_PREPARATION = 600  # seconds for the files of a case, which are not what is judged
MEMORY = 6 << 30  # of address space, beyond what the forking process has
FILE = 1 << 30
_KEPT = "kept"  # what a case writes beside its command's folder


def warm_up(cases: Iterable[Case]) -> None:
    """Import, and load, what the cases use, so that none of them pays for it."""
    cases = list(cases)
    import torch

    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(0)
    import regrain.masks.__main__
    import regrain.masks.track.following  # noqa: F401
    from regrain.editing.params.registry import METHODS
    from tests.hostile import base

    base.video()
    for method in METHODS.values():
        method.run, method.prepare  # noqa: B018
    if {"archive", "upload"} & {case.kind for case in cases}:
        import regrain.ui.session.clips  # noqa: F401
    if any(case.slow for case in cases):
        from regrain.editing.models.loading.load import load_backbone

        load_backbone("storybook")


def run(
    cases: Iterable[Case], seconds: float = SECONDS
) -> Iterator[tuple[Case, Answer, str]]:
    """Run cases one after the other: the case, its answer, and what is wrong with it
    (empty: nothing)."""
    for case in cases:
        answer = answer_of(case, seconds)
        yield case, answer, judge(case, answer)


def answer_of(case: Case, seconds: float = SECONDS) -> Answer:
    """Run one case."""
    with tempfile.TemporaryDirectory(
        prefix="hostile-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name).resolve()
        (folder / "in").mkdir()
        said = folder / "said.txt"
        sys.stdout.flush()
        sys.stderr.flush()
        prepared, tell = os.pipe()
        child = os.fork()
        if child == 0:
            _be_the_command(case, folder / "in", said, tell)
        os.close(tell)
        select.select([prepared], [], [], _PREPARATION)
        os.close(prepared)
        code = _wait(child, seconds)
        text = (
            said.read_bytes().decode("utf-8", "surrogateescape")
            if said.exists()
            else ""
        )
        if code == 99:
            raise RuntimeError(
                f"case {case.kind}/{case.name} could not be prepared:\n{text}"
            )
        return Answer(code, text, _left(folder / "in"))


def _be_the_command(case: Case, folder: Path, said: Path, tell: int) -> None:
    """In the child: prepare, tell so by closing a pipe, then run the command line;
    never returns."""
    code = 99
    try:
        os.setsid()
        sink = os.open(said, os.O_WRONLY | os.O_CREAT)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        for name in ("REGRAIN_CACHE", "XDG_CACHE_HOME"):
            os.environ[name] = str(folder.parent / "cache")
        case.write(folder)
        (folder.parent / _KEPT).write_bytes(b"\n".join(os.listdir(os.fsencode(folder))))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.close(tell)
        code = 1
        code = _main(*case.command)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _main(program: str, *arguments: str) -> int:
    if program == "masks":
        from regrain.masks.__main__ import main
    elif program == "editing":
        from regrain.editing.__main__ import main
    else:
        return PROGRAMS[program](*arguments)
    return main([*arguments])


def _wait(child: int, seconds: float) -> int | None:
    """The exit code of a child; negative for a signal, None if it did not end in
    time."""
    handle = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([handle], [], [], seconds)
        if not ready:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
                time.sleep(0.01)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) if ready else None
    finally:
        os.close(handle)


def _left(folder: Path) -> tuple[str, ...]:
    """What a command that failed left in its folder."""
    kept = folder.parent / _KEPT
    before = set(kept.read_bytes().split(b"\n")) if kept.exists() else set()
    left = {*os.listdir(os.fsencode(folder))} - before
    return tuple(sorted(name.decode("utf-8", "replace") for name in left))


def _new_and_check(clip: str) -> int:
    """Make a project of a clip, then read all of it."""
    from regrain.editing.__main__ import main

    if code := main(["new", clip, "-o", "made"]):
        return code
    code = main(["check", "made", "--method", "sdedit", "--prompt", "a pig"])
    shutil.rmtree("made")
    return code


def _open_upload(name: str) -> int:
    """Open a file as the page does when it is uploaded."""
    from regrain.editing.errors import EditingError
    from regrain.ui.session.clips import open_upload

    Path("media").mkdir()
    try:
        open_upload(Path(name), Path("media"))
    except EditingError as error:
        sys.stderr.write(f"error: {error}\n")
        shutil.rmtree("media")
        return 2
    # further files in an archive are not unpacked
    return int(any(Path("media").rglob("*stray*")))


def _twice_with_broken_cache(fault: str) -> int:
    """Run, break every entry of the cache, run again: the same bytes must come out."""
    from regrain.editing.__main__ import main

    run = ["run", "project", "--set=steps=2", "-o"]
    if code := main([*run, "a"]):
        return code
    entries = sorted(Path(os.environ["REGRAIN_CACHE"]).glob("*.safetensors"))
    if not entries:
        raise RuntimeError("nothing was cached")
    for entry in entries:
        (damage_file if fault in CONTENT else put)(entry, fault)
    if code := main([*run, "b"]):
        return code
    if Path("a/edited.mp4").read_bytes() != Path("b/edited.mp4").read_bytes():
        sys.stderr.write(
            "Traceback (most recent call): other bytes with a broken cache\n"
        )
        return 1
    return 0


# Commands that are several in a row, or call what the page calls.
PROGRAMS: dict[str, Callable[..., int]] = {
    "new_and_check": _new_and_check,
    "open_upload": _open_upload,
    "twice_with_broken_cache": _twice_with_broken_cache,
}

"""Commands of cases that are several commands in a row, or call what the page calls."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.hostile.faults import CONTENT, damage, put


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
    return 0


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
        if fault in CONTENT:
            entry.write_bytes(damage(entry.read_bytes(), fault))
        else:
            put(entry, fault)
    if code := main([*run, "b"]):
        return code
    if Path("a/edited.mp4").read_bytes() != Path("b/edited.mp4").read_bytes():
        sys.stderr.write("Traceback (most recent call): other bytes with a broken cache\n")
        return 1
    return 0


PROGRAMS: dict[str, Callable[..., int]] = {"new_and_check": _new_and_check, "open_upload": _open_upload}
PROGRAMS |= {"twice_with_broken_cache": _twice_with_broken_cache}

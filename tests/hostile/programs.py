"""Commands of cases that are several commands in a row, or call what the page calls."""

from __future__ import annotations

import os
import shutil
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tests.hostile.faults import CONTENT, SPECIAL


def _new_and_check(arguments: list[str]) -> int:
    """Make a project of a clip, then read all of it."""
    from regrain.editing.__main__ import main

    (clip,) = arguments
    if code := main(["new", clip, "-o", "made"]):
        return code
    code = main(["check", "made", "--method", "sdedit", "--prompt", "a pig"])
    shutil.rmtree("made")
    return code


def _open_upload(arguments: list[str]) -> int:
    """Open a file as the page does when it is uploaded."""
    from regrain.editing.errors import EditingError
    from regrain.ui.session.clips import open_upload

    Path("media").mkdir()
    try:
        open_upload(Path(arguments[0]), Path("media"))
    except EditingError as error:
        sys.stderr.write(f"error: {error}\n")
        shutil.rmtree("media")
        return 2
    return 0


def _twice_with_broken_cache(arguments: list[str]) -> int:
    """Run, break every entry of the cache, run again: the same bytes must come out."""
    from regrain.editing.__main__ import main

    run = ["run", "project", "--set=steps=2", "-o"]
    if code := main([*run, "a"]):
        return code
    (name,) = arguments
    entries = sorted(Path(os.environ["REGRAIN_CACHE"]).glob("*.safetensors"))
    if not entries:
        raise RuntimeError("nothing was cached")
    for entry in entries:
        data = entry.read_bytes()
        entry.unlink()
        if name in CONTENT:
            entry.write_bytes(CONTENT[name](data, np.random.default_rng(zlib.crc32(name.encode()))))
        else:
            SPECIAL[name](entry)
    if code := main([*run, "b"]):
        return code
    if Path("a/edited.mp4").read_bytes() != Path("b/edited.mp4").read_bytes():
        sys.stderr.write("Traceback (most recent call): other bytes with a broken cache\n")
        return 1
    return 0


PROGRAMS: Mapping[str, Callable[[list[str]], int]] = {
    "new_and_check": _new_and_check,
    "open_upload": _open_upload,
    "twice_with_broken_cache": _twice_with_broken_cache,
}

"""Files and pictures for browsers: the one folder the page may serve, and frames as
data URLs."""

from __future__ import annotations

import base64
import io
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from PIL import Image

from regrain.editing.media.lazy_frames import Rgb

MAX_AGE = 3600.0  # seconds without use after which a page's files go
_CLIP = "clip-"


class Media:
    """Example media, and a folder of random name per open page, which goes with it or
    after an hour."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self.root = root.resolve()
        self.examples = self.root / "examples"
        self._pages = self.root / "pages"
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        for folder in (self.examples, self._pages):
            folder.mkdir(parents=True, exist_ok=True)

    def new_run(
        self, page: str, keep: Collection[Path] = (), everything: bool = False
    ) -> Path:
        """Make an empty folder for one run of a page; earlier ones go, but for the last
        and those to keep, or for `everything`."""
        self.sweep()
        folder = self._folder(page)
        if folder.is_dir() and not everything:
            gone = [
                entry
                for entry in folder.iterdir()
                if not entry.name.startswith(_CLIP) and entry not in keep
            ]
            # the last is on the screen until this one shows something
            for run in sorted(gone, key=os.path.getmtime)[:-1]:
                shutil.rmtree(run, ignore_errors=True)
        run = folder / secrets.token_hex(8)
        run.mkdir(parents=True)
        return run

    def new_clip(self, page: str, name: str = "") -> Path:
        """Make an empty folder for a clip that a page opens; it stays until `drop` or
        `forget`.

        `name` is the one that it had before, for a page that still asks for its files.
        """
        self.sweep()
        folder = self._folder(page)
        clip = folder / f"{_CLIP}{secrets.token_hex(8)}"
        if (
            re.fullmatch(rf"{_CLIP}[0-9a-f]{{16}}", name)
            and not (folder / name).exists()
        ):
            clip = folder / name
        clip.mkdir(parents=True)
        return clip

    @contextmanager
    def opening(self, page: str) -> Iterator[Path]:
        """Yield a folder as `new_clip` makes it, which goes again where an error ends the
        block."""
        folder = self.new_clip(page)
        try:
            yield folder
        except BaseException:
            self.drop(folder)
            raise

    def drop(self, folder: Path) -> None:
        """Remove a folder that `new_clip` or `new_run` made; any other stays."""
        if folder.parent.parent == self._pages:
            shutil.rmtree(folder, ignore_errors=True)

    def touch(self, page: str) -> None:
        """Keep a page's files for another hour."""
        with suppress(FileNotFoundError):  # not made yet, or just forgotten
            os.utime(self._folder(page))

    def _folder(self, page: str) -> Path:
        """Return the place of a page's files, which nobody can guess."""
        return self._pages / blake2b(page.encode(), key=self._secret).hexdigest()[:32]

    def forget(self, page: str) -> None:
        """Remove a page's files; should it come back, they have the same places."""
        shutil.rmtree(self._folder(page), ignore_errors=True)

    def sweep(self) -> None:
        """Remove the files of pages that were not used for an hour."""
        for folder in list(self._pages.iterdir()):
            with suppress(FileNotFoundError):  # its page was forgotten meanwhile
                if self._clock() - folder.stat().st_mtime > MAX_AGE:
                    shutil.rmtree(folder, ignore_errors=True)


def link_or_copy(file: Path | str, path: Path) -> Path:
    """Give a file a second name, which stays when the first goes, or copy it where that
    is impossible."""
    try:
        os.link(file, path)
    except OSError:
        shutil.copy2(file, path)
    return path


def link_tree(
    folder: Path,
    target: Path,
    left_out: Callable[[str, list[str]], list[str]] | None = None,
) -> None:
    """Make a folder with the same files under second names, but for those that are
    `left_out` of a folder's names; see `link_or_copy`."""
    shutil.copytree(
        folder, target, ignore=left_out, copy_function=link_or_copy, dirs_exist_ok=True
    )


def data_url(frame: Rgb, side: int, quality: int = 82) -> str:
    """Return a data URL of a frame, scaled down to at most `side` pixels."""
    return as_url(shrunk(frame, side), "jpeg", quality=quality)


def shrunk(frame: Rgb, side: int) -> Image.Image:
    """Return a frame scaled down to at most `side` pixels."""
    image = Image.fromarray(frame)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def as_url(image: Image.Image, kind: str, **how: int) -> str:
    """Return a picture as a data URL of a kind that `Image.save` knows."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"

"""The work of a page that comes back from the folder of its project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from regrain.editing.errors import EditingError
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.project import FILE, describe, load_project
from regrain.editing.storage.folders import is_hidden, trouble
from regrain.ui.server.media import Media, link_tree
from regrain.ui.session.clips import OpenedClip, open_upload, prepare
from regrain.ui.session.examples import Examples
from regrain.ui.session.kept_project import (
    KeptProject,
    changed_by_hand,
    keep_page_before,
)
from regrain.ui.session.kept_results import RESULTS, take_result
from regrain.ui.session.project_file import take_work
from regrain.ui.session.session import Session
from regrain.ui.values.fields import Fields
from regrain.ui.values.kept import MASKS, MaskFiles
from regrain.ui.values.layers import MaskLayer
from regrain.ui.values.state import State

_OF_CLIP = ("path", "start", "stride", "frames", "deinterlace")


@dataclass(frozen=True)
class _ByHand:
    """Changes that a person made to a project while no page had it, if any."""

    names: list[str]  # of the files
    # what they ask for; None if there are none, or they cannot be read
    request: EditRequest | None = None
    problem: str = ""
    of_clip: bool = False  # whether it is another clip, or another part of it
    has_masks_of_page: bool = False


class Returned:
    """A project that comes back to a page.

    Args:
        kept: Its folder, which is held.
        media: Has the files that the page uses.
        page: The page.
        examples: The clips that need no copy.
        any_size: See `open_upload`.

    Raises:
        EditingError: It cannot be read.
    """

    def __init__(
        self,
        kept: KeptProject,
        media: Media,
        page: str,
        examples: Examples,
        any_size: bool,
    ) -> None:
        self._kept = kept
        self._any_size = any_size
        self._media = media
        self._page = page
        # What the page uses has second names, which stay where they are.
        self._here = media.new_clip(page)
        link_tree(kept.folder, self._here, _left_out)
        served = media.new_clip(page, kept.content.get("served", ""))
        try:
            self._hand = self._by_hand()
            self.opened = self._open_clip(served, examples)
        except BaseException:
            media.drop(served)
            media.drop(self._here)
            raise

    def take(self, session: Session) -> None:
        """Open it in a session, with all that was done on it."""
        kept = self._kept
        content = kept.content
        session.open(self.opened, str(content.get("id", "")))
        words, asked = session.words, session.state
        if not self._hand.of_clip:
            take_work(session, content, MaskFiles(self._here))
            fields = content.get("fields")
            if fields:
                session.fields = Fields.kept(fields)
                session.chosen_model = str(session.fields.model)
        kept.adapter = content.get("adapter", "")
        session.adapters.restore(content.get("adapters", ()), kept.adapter, self._here)
        runs = []
        for key in content.get("results", ()):
            place = kept.folder / RESULTS / key
            if run := take_result(place, self._here, self._media, self._page):
                runs.append(run)
        session.history.restore(runs)
        kept.masks = {file.name for file in (kept.folder / MASKS).glob("*")}
        kept.results = {run.key for run in runs}
        kept.said = session.kept_values
        session.kept = kept
        session.returned = True
        if self._hand.names:
            self._take_by_hand(session, words, asked)

    def _open_clip(self, served: Path, examples: Examples) -> OpenedClip:
        content = self._kept.content
        title = str(content.get("title", self._kept.folder.name))
        by_hand = self._hand.request
        if by_hand and self._hand.of_clip:
            return prepare("", title, by_hand, served)
        example = examples.get(content.get("example", ""))
        own = content.get("file")
        if example:
            opened = example.opened
        elif own:
            part = own["start"], own["stride"], own["frames"]
            file = self._here / own["path"]
            opened, _ = open_upload(file, served, *part, any_size=self._any_size)
        else:
            # as large as before: earlier versions made no copy
            side = max(content.get("shape", ())[1:], default=None)
            opened = prepare("", title, load_project(self._here), served, side)
        return replace(opened, title=title, request=by_hand or opened.request)

    def _by_hand(self) -> _ByHand:
        """Read what somebody wrote."""
        written = self._kept.written
        names = changed_by_hand(self._here, written)
        if not names:
            return _ByHand(names)
        try:
            request = load_project(self._here)
        except EditingError as error:
            return _ByHand(names, problem=f"{error.field}: {error.message}")
        before = self._kept.content.get("clip", {})
        now = describe(request)["clip"]
        of_clip = before.get("path") in names or any(
            before.get(key) != now.get(key) for key in _OF_CLIP
        )
        masks = json.loads((self._here / FILE).read_bytes()).get("masks")
        of_page = masks in written and masks not in names
        return _ByHand(names, request, "", of_clip, of_page)

    def _take_by_hand(
        self, session: Session, words: Mapping[str, str], asked: State
    ) -> None:
        """Take what somebody wrote, as a step that can be undone, or say why it cannot
        be read; words and state are those of a session that begins with it."""
        hand = self._hand
        changed = ", ".join(hand.names)
        if hand.request is None:
            session.notice = (
                f"{changed} was changed by hand and cannot be read ({hand.problem})."
            )
            return
        before = keep_page_before(self._kept.folder)
        session.notice = (
            f"{changed} was changed by hand, and that is taken. What the page had is in "
            f"{before}."
        )
        self._kept.note(*hand.names)
        self._kept.said = ()
        vars(session).update(words, tracker=session.tracker)
        session.fields = None
        if hand.of_clip:
            return
        # The page knows more of its masks than it writes for the command line.
        layers = session.state.layers if hand.has_masks_of_page else asked.layers
        kept_layers = {label: layers.get(label, MaskLayer()) for label in asked.regions}
        state = replace(asked, layers=kept_layers)
        session.commit(state)
        session.state = state  # with its words, too


def _left_out(folder: str, names: list[str]) -> list[str]:
    """List what a page needs not of a project's folder: results are brought back one by
    one."""
    return [
        name
        for name in names
        if is_hidden(name) or name == RESULTS or trouble(Path(folder) / name)
    ]

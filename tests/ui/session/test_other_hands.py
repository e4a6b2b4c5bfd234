"""Folders of projects that others touch, too: another process, or a person."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import permutations
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from json_files import read_json, write_json
from kept_work import FRAMES, HEIGHT, WIDTH, box, kill, opened, work, written_noise

from regrain.editing import load_project
from regrain.editing.errors import RequestError
from regrain.ui.server.own_machine import keeping
from regrain.ui.session.kept_project import PAGE, hold


def keep(visits, session):
    visits.projects.keep("page", session)


def by_hand(folder, **changes):
    """Change project.json as a person does."""
    file = folder / "project.json"
    write_json(file, read_json(file) | changes)


def layers_of(session):
    """Masks of all regions, by value."""
    return {label: vars(layer) for label, layer in session.state.layers.items()}


def words_in(root):
    """All that is written below a folder, as one text."""
    files = [file for file in root.rglob("*.json") if file.is_file()]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


# A folder that cannot be written


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/proc/nowhere", "No such file or directory"),
        ("{file}", "Not a directory"),
        ("{file}/inside", "Not a directory"),
        ("/dev/null/projects", "Not a directory"),
    ],
)
def test_where_nothing_can_be_kept_that_is_said(monkeypatch, tmp_path, place, said):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("REGRAIN_PROJECTS", place.format(file=file))
    folder, why = keeping()
    assert folder is None
    assert said in why
    assert "REGRAIN_PROJECTS" in why
    monkeypatch.setenv("REGRAIN_PROJECTS", str(tmp_path / "projects"))
    assert keeping() == (tmp_path / "projects", "")


def test_a_new_page_is_told_that_nothing_is_kept(server, root):
    visits = server()
    visits.projects.root = None
    visits.projects.unkept = "Nothing stays here."
    session = visits.get("page")
    assert session.take_notice() == "Nothing stays here."
    assert session.take_notice() == ""
    keep(visits, session)
    assert not root.exists()


def test_a_full_disk_is_told_once_and_work_is_kept_when_there_is_room(
    visits, session, root
):
    full = OSError(28, "No space left on device")
    with patch("regrain.ui.session.projects.write_bytes", side_effect=full):
        keep(visits, session)
        assert "No space left" in session.take_notice()
        keep(visits, session)
        assert session.take_notice() == ""
    keep(visits, session)
    assert session.take_notice() == ""
    assert "a fox" in words_in(root)
    assert [folder.name for folder in root.iterdir()] == ["my walk"]


# A folder with another name


def test_a_folder_that_is_renamed_while_it_is_open_is_followed(
    visits, session, root, process
):
    keep(visits, session)
    (root / "my walk").rename(root / "renamed")
    session.source_prompt = "typed later"
    keep(visits, session)
    assert [folder.name for folder in root.iterdir()] == ["renamed"]
    assert load_project(root / "renamed").source_prompt == "typed later"
    back = process().open_project("other", "renamed")
    assert back.source_prompt == "typed later"
    assert layers_of(back) == layers_of(session)
    # what it uses is not in the folder
    (root / "renamed").rename(root / "again")
    assert len(np.asarray(back.opened.frames)) == len(session.opened.frames)
    assert back.opened.file.is_file()


@pytest.mark.parametrize("gone", ["removed", "moved", "replaced"])
def test_a_folder_that_is_gone_is_begun_anew_and_whole(
    visits, session, root, tmp_path, gone
):
    keep(visits, session)
    folder = root / "my walk"
    folder.rename(tmp_path / "elsewhere")
    if gone == "removed":
        shutil.rmtree(tmp_path / "elsewhere")
    if gone == "replaced":
        folder.mkdir()
        (folder / PAGE).write_text("another's")
    session.source_prompt = "typed later"
    keep(visits, session)
    begun = root / ("my walk 2" if gone == "replaced" else "my walk")
    request = load_project(begun)
    assert request.source_prompt == "typed later"
    assert request.labels is not None
    why = "is not there any more"
    if gone == "replaced":
        why = "was changed by another program"
    notice = session.take_notice()
    assert f"The project 'my walk' {why}" in notice
    assert begun.name in notice
    if gone == "replaced":
        assert (folder / PAGE).read_text() == "another's"


# What a person writes


def test_what_is_written_by_hand_while_no_page_is_open_wins(
    visits, session, root, process
):
    keep(visits, session)
    folder = root / "my walk"
    layers = layers_of(session)
    by_hand(folder, prompt="by hand", seed=77)
    back = process().open_project("other", "my walk")
    assert "project.json was changed by hand" in back.notice
    assert back.prompt == "by hand"
    assert back.opened.request.seed == 77
    assert back.opened.file.is_file(), "another part can be chosen"
    assert back.fields is None  # they are filled from the request
    assert layers_of(back) == layers, "the page knows more of its masks"
    assert "page before.json" in back.notice
    assert read_json(folder / "page before.json")["prompt"] == session.prompt
    back.undo()
    assert back.prompt == "by hand"
    back.redo()
    back.prompt += " and the page"
    visits = process()
    visits.projects.keep("other", back)
    assert load_project(folder).prompt == "by hand and the page"
    assert not list(folder.glob("project by hand*"))


def test_words_of_regions_by_hand_win(visits, session, root, process):
    keep(visits, session)
    first, second = read_json(root / "my walk" / "project.json")["regions"]
    by_hand(root / "my walk", regions=[second, first | {"prompt": "an owl"}])
    back = process().open_project("other", "my walk")
    prompts = {one.label: one.prompt for one in back.state.regions.values()}
    assert [*prompts.items()] == [(second["label"], ""), (first["label"], "an owl")]


def test_words_by_hand_leave_the_tracker_that_was_chosen(
    visits, session, root, process, monkeypatch
):
    known = {"cuts", "another"}
    monkeypatch.setattr("regrain.ui.session.project_file.trackers", lambda: known)
    session.tracker = "another"
    keep(visits, session)
    by_hand(root / "my walk", prompt="by hand")
    back = process().open_project("other", "my walk")
    assert (back.prompt, back.tracker) == ("by hand", "another")


def test_masks_by_hand_win(visits, session, root, process):
    keep(visits, session)
    folder = root / "my walk"
    content = read_json(folder / "project.json")
    masks = read_json(folder / content["masks"])
    one, other = content["regions"]
    marks = masks["annotations"]
    last = max(n for n, mark in enumerate(marks) if mark["category_id"] == one["label"])
    del marks[last]
    write_json(folder / content["masks"], masks)
    back = process().open_project("other", "my walk")
    assert content["masks"] in back.notice
    shown = [back.masked(one["label"], frame) for frame in range(FRAMES)]
    assert shown == [True, False, False]
    assert back.masked(other["label"], 0)
    back.undo()
    assert back.masked(one["label"], 1)


def test_another_part_of_the_clip_by_hand_is_opened_as_a_project(
    visits, session, root, process
):
    keep(visits, session)
    folder = root / "my walk"
    clip = read_json(folder / "project.json")["clip"]
    content = read_json(folder / "project.json")
    del content["masks"]
    write_json(
        folder / "project.json",
        content | {"clip": clip | {"frames": 2}, "regions": [], "prompt": "short"},
    )
    back = process().open_project("other", "my walk")
    assert len(back.opened.frames) == 2
    assert back.prompt == "short"
    assert not back.state.layers
    assert not back.steps.past, "there is nothing to undo"


def test_what_cannot_be_read_is_told_and_stays(visits, session, root, process):
    keep(visits, session)
    folder = root / "my walk"
    (folder / "project.json").write_text('{"prompt": "half')
    visits = process()
    back = visits.open_project("other", "my walk")
    assert "cannot be read" in back.take_notice()
    assert back.prompt == session.prompt
    back.prompt = "on the page"
    visits.projects.keep("other", back)
    assert (folder / "project by hand.json").read_text() == '{"prompt": "half'
    assert "project by hand.json" in back.take_notice()
    assert load_project(folder).prompt == "on the page"


def test_what_is_written_by_hand_while_a_page_is_open_is_put_aside(
    visits, session, root
):
    keep(visits, session)
    folder = root / "my walk"
    for number, name in enumerate(("project by hand.json", "project by hand 2.json")):
        by_hand(folder, prompt=f"by hand {number}")
        session.source_prompt = f"typed {number}"
        keep(visits, session)
        assert load_project(folder).source_prompt == f"typed {number}"
        assert read_json(folder / name)["prompt"] == f"by hand {number}"
        assert name in session.take_notice()


def test_masks_and_clips_by_hand_are_put_aside(visits, session, root, tmp_path):
    keep(visits, session)
    folder = root / "my walk"
    masks = folder / read_json(folder / "project.json")["masks"]
    masks.write_text("{}")
    other = written_noise(tmp_path / "other.mp4", HEIGHT * 2, WIDTH)
    shutil.copyfile(other, folder / "new.mp4")
    (folder / "new.mp4").replace(folder / "clip.mp4")
    session.source_prompt = "typed"
    keep(visits, session)
    request = load_project(folder)
    assert request.clip.size == (WIDTH, HEIGHT)
    (labels,) = request.labels.read(1, 2)
    assert (labels == 1).sum() + (labels == 2).sum() >= box(7, 7).sum()
    assert (folder / f"{masks.stem} by hand.json").read_text() == "{}"
    assert (folder / "clip by hand.mp4").stat().st_size == other.stat().st_size


# Two processes


def test_a_project_that_is_open_in_another_process_is_refused(
    visits, session, root, server, process
):
    keep(visits, session)
    second = server()
    with pytest.raises(RequestError, match="open, here or elsewhere"):
        second.open_project("b", "my walk")
    with pytest.raises(RequestError, match="open, here or elsewhere"):
        second.projects.delete("my walk")
    # the same page, as a browser sends it after a restart elsewhere, is told
    again = second.get("page")
    assert "open, here or elsewhere" in again.take_notice()
    visits.leave("page")
    visits.put_away("page")
    assert second.open_project("b", "my walk").source_prompt == session.source_prompt


def test_a_clip_that_is_left_is_free_for_others(visits, session, root, server, clip):
    keep(visits, session)
    opened(visits, clip)
    assert server().open_project("b", "my walk").id


def test_what_one_thread_holds_another_may_let_go(tmp_path):
    """As the thread that keeps work does."""
    with ThreadPoolExecutor(1) as other:
        lock = other.submit(hold, tmp_path).result()
    with pytest.raises(RequestError, match="open, here or elsewhere"):
        hold(tmp_path)
    lock.release()
    hold(tmp_path).release()


class Steps:
    """Two processes, a person and a killed process over one folder of projects."""

    def __init__(self, root, server, clip):
        self.root, self.server, self.clip = root, server, clip
        self.words = []
        self.stores = {"a": server(), "b": server()}
        keep(self.stores["a"], work(self.stores["a"], clip))
        self.pages = {"a": "page"}

    def _word(self):
        self.words.append(f"word{len(self.words)}end")
        return self.words[-1]

    def type(self, name):
        """Type a word on a page, which is kept; or be refused the project."""
        store = self.stores[name]
        page = self.pages.setdefault(name, f"page{name}")
        session = store.find(page)
        if session is None or session.kept is None:
            keys = [one.key for one in store.projects.listed() if not one.problem]
            with suppress(RequestError):  # open in the other process
                session = store.open_project(page, keys[0])
        if session is None or session.kept is None:
            return
        with session.lock:
            session.prompt = f"{session.prompt} {self._word()}"
        store.projects.keep(page, session)

    def second(self):
        self.type("b")

    def rename(self):
        folders = [one for one in self.root.iterdir() if (one / PAGE).is_file()]
        folders[0].rename(self.root / f"renamed {len(self.words)}")
        self.type("a")

    def hand(self):
        for folder in [one for one in self.root.iterdir() if (one / PAGE).is_file()]:
            prompt = read_json(folder / "project.json")["prompt"]
            by_hand(folder, prompt=f"{prompt} {self._word()}")
        self.type("a")

    def kill(self, name="a", writes=None):
        """Kill a process, maybe while it writes what was typed, and begin another."""
        store = self.stores[name]
        if writes is not None and name in self.pages:
            left = iter(range(writes))
            really = os.replace

            def replace_or_die(*paths, **how):
                if next(left, None) is None:
                    raise KeyboardInterrupt
                return really(*paths, **how)

            session = store.find(self.pages[name])
            if session and session.kept:
                session.prompt += " half"
                with (
                    patch("pathlib.os.replace", replace_or_die),
                    suppress(KeyboardInterrupt),
                ):
                    store.projects.keep(self.pages[name], session)
        kill(store)
        self.stores[name] = self.server()
        self.pages[name] = f"page{name}{len(self.words)}"
        self.type(name)

    def check(self):
        written = words_in(self.root)
        for word in self.words:
            assert word in written, word


EVENTS = ("second", "rename", "hand", "kill")
ORDERS = [*permutations(EVENTS, 2), *permutations(EVENTS, 3)]


@pytest.mark.full(but="hand-kill-rename")
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_no_word_is_lost_in_any_order(root, server, clip, order):
    steps = Steps(root, server, clip)
    steps.type("a")
    for event in order:
        getattr(steps, event)()
    steps.check()


MOVES = st.one_of(
    st.tuples(st.just("type"), st.sampled_from("ab")),
    st.tuples(st.sampled_from(["rename", "hand"])),
    st.tuples(st.just("kill"), st.sampled_from("ab"), st.none() | st.integers(0, 3)),
)


@pytest.mark.full
@settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(moves=st.lists(MOVES, min_size=3, max_size=9))
def test_no_word_is_lost_by_anybody(root, server, clip, moves):
    shutil.rmtree(root, ignore_errors=True)
    steps = Steps(root, server, clip)
    for name, *given_ in moves:
        getattr(steps, name)(*given_)
    steps.check()

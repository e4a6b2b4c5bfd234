"""Projects on this machine: the work of pages comes back whole from their folders."""

import base64
import json
import os
import shutil
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from queue import Queue
from types import SimpleNamespace

import numpy as np
import pytest
from fake_app import tuned_model
from json_files import read_json, write_json
from kept_work import (
    FIELDS,
    FRAMES,
    HEIGHT,
    WIDTH,
    box,
    opened,
    put,
    ran,
    work,
    written_noise,
)
from made_clips import moving, write_clip
from other_values import EDIT, REGION, write_files
from PIL import Image

from regrain.editing import (
    ArrayClip,
    EditRequest,
    Region,
    edit,
    load_project,
    open_clip,
    save_project,
)
from regrain.editing.errors import RequestError
from regrain.editing.models.adapters import save_adapter
from regrain.editing.request.edit import Edit
from regrain.editing.storage.local_models import models_folder
from regrain.masks.draw import pack
from regrain.ui.handlers.project_handlers import ProjectHandlers
from regrain.ui.server.own_machine import (
    is_own_machine,
    place_models,
    projects_folder,
)
from regrain.ui.session import session_store
from regrain.ui.session.build_request import build_request
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.session.kept_project import PAGE, link_into
from regrain.ui.session.projects import Projects, is_worth
from regrain.ui.session.session_store import MAX_PAGES, SessionStore
from regrain.ui.values.adapters import Entry
from regrain.ui.values.layers import Key, MaskLayer


def keep(visits, session):
    visits.projects.keep("page", session)


def back_in(visits):
    """What the page is shown by another process."""
    return visits.arrive("page", "connection")


def test_of_the_steps_the_last_are_kept_and_what_they_share_once(
    process, visits, session
):
    for frame in range(30):  # more than are kept
        track = {at: pack(box(frame % 9, at)) for at in range(FRAMES)}
        put(session, track=track, keys={})
    keep(visits, session)
    back = back_in(process())
    past = back.steps.past
    assert len(past) == 20
    (_, other) = past[0].layers
    assert len({id(state.layers[other]) for state in past}) == 1
    while back.steps.past:
        back.undo()
    assert back.steps.cut


@pytest.mark.full(but="said3")
@pytest.mark.parametrize("said", [[], [15], [6], [20, 15]])
@pytest.mark.usefixtures("own_cache")
def test_a_kept_project_gives_on_the_command_line_what_the_page_gives(
    said, root, small, tmp_path, visits
):
    """Bit for bit, with a margin that is chosen automatically, of which a card says 15,
    as with one that was set."""
    height, width = 240, 320
    session = opened(visits, written_noise(tmp_path / "wide.mp4", height, width))
    label = session.add_region()
    mask = np.zeros((height, width), bool)
    mask[100:124, 80:104] = True
    put(session, track=dict.fromkeys(range(3), pack(mask)))
    words = {"label": label, "source": "a cat", "prompt": "a fox"}
    session.describe({"source_prompt": "a cat on the grass", "regions": [words]})
    for margin in said:
        session.describe({"regions": [{"label": label, "margin": margin}]})
    session.method = "sdedit"
    session.fields = replace(FIELDS, given={"videograin": {"steps": 2}})
    session.choose_focus("on")
    keep(visits, session)
    asked = Edit(method="sdedit", seed=5, params={"steps": 2}, focus="on")
    results = []
    for request in (build_request(session, asked), load_project(root / "wide")):
        *_, last = edit(request, small)
        assert last.report["focus"]
        results.append(last.result)
    page, command_line = results
    assert np.array_equal(page.frames[:], command_line.frames[:])
    assert np.array_equal(page.edited_mask[:], command_line.edited_mask[:])
    # The command line makes a project that the page runs to the same.
    save_project(load_project(root / "wide"), tmp_path / "saved")
    again = opened(visits, tmp_path / "saved", "another page")
    *_, last = edit(build_request(again, asked), small)
    assert np.array_equal(last.result.frames[:], page.frames[:])


def test_nothing_is_written_twice_and_what_goes_is_removed(clip, root, visits, session):
    keep(visits, session)
    folder = root / "my walk"

    def written():
        return {
            str(file.relative_to(folder)): file.stat().st_mtime_ns
            for file in folder.rglob("*")
            if file.is_file()
        }

    first = written()
    (listed,) = visits.projects.listed()
    assert listed.size > clip.stat().st_size
    assert os.stat(folder / "clip.mp4").st_ino == clip.stat().st_ino
    keep(visits, session)
    assert written() == first, "nothing has changed"
    session.describe({"source_prompt": "two animals"})
    keep(visits, session)
    changed = {name for name, when in written().items() if first.get(name) != when}
    assert changed == {"page.json", "project.json"}
    (layer, *_) = session.state.layers.values()
    put(session, track={**layer.track, 1: pack(box(0, 0))})
    before = written()
    keep(visits, session)
    new = {name for name, when in written().items() if before.get(name) != when}
    masks = {name for name in new if name.startswith("masks/")}
    assert len(masks) == 1
    assert new - masks == {"page.json", "project.json", "masks-2.json"}
    assert not (folder / "masks-1.json").exists()


def test_a_run_is_kept_and_shown_in_the_list_until_it_is_removed(
    root, tmp_path, visits, session
):
    keep(visits, session)
    for key in ("first", "last"):
        ran(session, tmp_path / key)
        keep(visits, session)
        assert visits.projects.listed()[0].picture == f"a picture of {key}"
    session.history.remove("first")
    keep(visits, session)
    assert os.listdir(root / "my walk" / "results") == ["last"]


def test_all_results_come_back_with_their_files(tmp_path, process, visits, session):
    for key in ("one", "two", "three"):
        ran(session, tmp_path / key)
    keep(visits, session)
    runs = back_in(process()).history.runs
    assert [run.key for run in runs] == ["three", "two", "one"]
    assert [run.read() for run in runs] == [{}, {}, {}]


def test_a_file_of_the_same_time_and_another_size_is_another(tmp_path):
    source, target = tmp_path / "new", tmp_path / "old"
    for content, linked in ((b"four", b"five"), (b"six", b"six")):
        source.write_bytes(content)
        target.write_bytes(b"five")
        for file in (source, target):
            os.utime(file, ns=(0, 0))
        link_into(source, target)
        assert target.read_bytes() == linked


def test_pictures_of_a_result_come_back_with_it(tmp_path, process, visits, session):
    toy = tmp_path / "toy.png"
    toy.write_bytes(b"a toy")
    request = replace(session.opened.request, picture=str(toy))
    session.opened = replace(session.opened, request=request)
    ran(session, tmp_path / "one")
    keep(visits, session)
    toy.unlink()
    (run,) = back_in(process()).history.runs
    assert Path(run.choices.edit.picture).read_bytes() == b"a toy"


@pytest.mark.parametrize(
    "done", [{"prompt": "a fox"}, {"rev": 1}, {"runs": ["one that goes on"]}]
)
def test_an_example_is_kept_once_more_than_the_tracker_is_chosen(visits, done):
    session = visits.get("page")
    session.tracker = "another"
    assert not is_worth(session)
    vars(session).update(done)
    assert is_worth(session)


def test_what_is_taken_back_in_an_example_is_kept_as_well(visits, root):
    session = visits.get("page")
    first = session.prompt
    session.prompt = "another prompt"
    visits.projects.keep("page", session)
    session.prompt = first
    assert not is_worth(session)
    visits.projects.keep("page", session)
    (kept,) = root.glob("*/page.json")
    assert read_json(kept)["prompt"] == first


def test_the_command_line_is_told_once_nothing_changes(
    root, visits, session, monkeypatch
):
    told = root / "my walk" / "project.json"
    for quiet, tracking, is_told in ((60, 0, False), (-1, 1, False), (-1, 0, True)):
        monkeypatch.setattr("regrain.ui.session.projects._QUIET", quiet)
        session.tracking = tracking
        visits.projects.keep("page", session, whole=False)
        assert told.exists() == is_told


def test_one_thread_keeps_the_work_of_all_pages(root):
    names = [thread.name for thread in threading.enumerate()]
    projects = Projects(root)
    for _ in range(3):
        projects.wake()
    now = [thread.name for thread in threading.enumerate()]
    assert now.count("projects") == names.count("projects") + 1


def test_work_is_kept_as_it_goes_on(visits, session, monkeypatch):
    projects = visits.projects
    coming = [[], [("page", session)], []]
    kept = Queue()

    def sessions():
        if len(coming) == 3:  # one comes while the thread finds nobody
            Projects.wake(projects)  # these tests' own does nothing
        return coming.pop(0)

    monkeypatch.setattr(projects, "keep", lambda *given, whole: kept.put(given))
    projects.sessions = sessions
    Projects.wake(projects)
    assert kept.get(timeout=20) == ("page", session)


@pytest.mark.parametrize("lost", range(12))
def test_an_end_in_the_middle_leaves_the_last_whole_state(
    process, root, monkeypatch, lost, visits, session
):
    """The process ends before any of the files that a change writes."""
    keep(visits, session)
    told = load_project(root / "my walk").source_prompt
    label = next(iter(session.state.regions))
    track = {frame: pack(box(frame, 2)) for frame in range(FRAMES)}
    put(session, track=track, keys={})
    session.source_prompt = "later"

    class Killed(BaseException):
        pass

    left = [lost]
    really = os.replace

    def replace_or_die(*paths, **how):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return really(*paths, **how)

    monkeypatch.setattr("pathlib.os.replace", replace_or_die)
    ended = False
    try:
        keep(visits, session)
    except Killed:
        ended = True
    monkeypatch.setattr("pathlib.os.replace", really)
    assert ended == (lost < 7), "the number of files that are written"
    back = back_in(process())
    assert back.source_prompt in (told, "later")
    is_later = back.source_prompt == "later"
    assert (back.state.layers[label].track == track) is is_later
    request = load_project(root / "my walk")
    (labels,) = request.labels.read(1, 2)
    expected = box(1, 2) if request.source_prompt == "later" else box(7, 7)
    assert np.array_equal(labels == label, expected)


def test_a_page_that_is_put_away_comes_back_with_its_next_event(
    monkeypatch, visits, session
):
    monkeypatch.setattr(session_store.gc, "collect", lambda: None)
    monkeypatch.setattr(session_store, "return_freed", lambda: None)
    monkeypatch.setattr(session_store, "MAX_PAGES", 3)
    served = session.opened.folder
    for number in range(3):
        visits.get(f"other{number}").add_region()
    assert visits.find("page") is None
    back = visits.get("page")
    assert back.state.regions == session.state.regions
    assert back.opened.folder == served, "the page asks for the same files"
    assert (served / "00000.jpg").is_file()


def test_pages_that_have_left_are_put_away_first(monkeypatch, visits):
    monkeypatch.setattr(session_store.gc, "collect", lambda: None)
    monkeypatch.setattr(SessionStore, "_sweep_until_done", lambda self: None)
    visits.get("drawing")
    for number in range(MAX_PAGES - 1):
        visits.get(str(number))
    visits.leave("7")
    visits.get("one more")
    assert visits.find("7") is None
    assert visits.find("drawing") is not None
    visits.get("drawing")  # it was drawn on a minute before
    visits.get("another")
    assert visits.find("0") is None
    assert visits.find("drawing") is not None


def test_projects_are_opened_and_deleted_by_their_key(clip, root, visits, session):
    keep(visits, session)
    with pytest.raises(RequestError, match="open in another window"):
        visits.open_project("second", "my walk")
    with pytest.raises(RequestError, match="It is open"):
        visits.projects.delete("my walk")
    visits.leave("page")
    words = session.source_prompt
    again = visits.open_project("second", "my walk")
    assert visits.find("page") is None
    assert (again.source_prompt, again.id) == (words, session.id)
    assert visits.open_project("second", "my walk") is again
    opened(visits, clip, "second")
    visits.projects.keep("second", visits.get("second"))
    assert {one.key for one in visits.projects.listed()} == {"my walk", "my walk 2"}
    visits.projects.delete("my walk")
    assert [one.key for one in visits.projects.listed()] == ["my walk 2"]
    assert [one.name for one in root.iterdir()] == ["my walk 2"]


def test_of_other_visitors_nothing_is_shown(clip, visits, session):
    keep(visits, session)
    opened(visits, clip, "second")
    visits.projects.keep("second", visits.get("second"))
    projects = visits.projects
    assert [one.key for one in projects.listed("page")] == ["my walk"]
    assert [one.key for one in projects.listed("second")] == ["my walk 2"]
    assert projects.listed("third") == []
    assert projects.folder_of("my walk", "page").name == "my walk"
    with pytest.raises(RequestError, match="is not there"):
        projects.folder_of("my walk", "second")


@pytest.mark.parametrize(
    ("address", "headers", "seen"),
    [
        ("127.0.0.1", {}, ["my walk", "my walk 2"]),
        ("10.0.0.7", {}, ["my walk"]),
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.7"}, ["my walk"]),
    ],
)
def test_on_another_machine_a_visitor_sees_the_own_projects_alone(
    monkeypatch, clip, visits, session, address, headers, seen
):
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    keep(visits, session)
    opened(visits, clip, "second")
    visits.projects.keep("second", visits.get("second"))
    visits.leave("second")
    client = SimpleNamespace(host=address)
    request = SimpleNamespace(headers=headers, client=client, session_hash="page")
    handlers = object.__new__(ProjectHandlers)
    object.__setattr__(handlers, "visits", visits)
    shown = handlers._listed(request)["recent"]
    assert sorted(one.key for one in shown.items) == seen
    event = SimpleNamespace(_data={"key": "my walk 2"})
    folder = lambda: handlers._folder(event, request).name  # noqa: E731
    if len(seen) == 2:
        assert folder() == "my walk 2"
    else:
        with pytest.raises(RequestError, match="is not there"):
            folder()


def test_damaged_and_later_projects_are_named(process, root, visits, session):
    keep(visits, session)
    file = root / "my walk" / PAGE
    content = read_json(file)
    for text, said in (
        (file.read_text()[:200], "damaged"),
        (json.dumps(content | {"version": 2}), "newer Regrain"),
        ("[]", "damaged"),
    ):
        file.write_text(text)
        (listed,) = process().projects.listed()
        assert said in listed.problem
        with pytest.raises(RequestError, match=said):
            process().open_project("other", "my walk")
    del content["layers"]
    write_json(file, content)
    with pytest.raises(RequestError, match="damaged"):
        process().open_project("other", "my walk")
    assert back_in(process()) is not None  # with what new pages show


def test_a_project_without_its_title_and_with_a_damaged_picture_is_listed(
    process, root, visits, session
):
    keep(visits, session)
    file = root / "my walk" / PAGE
    write_json(file, {"version": 1})
    (file.parent / "picture.txt").write_bytes(b"\xff\xfe")
    assert [one.title for one in process().projects.listed()] == ["my walk"]


def test_a_tracker_that_is_gone_is_replaced_by_the_usual_one(process, visits, session):
    session.tracker = "flow"  # of earlier versions
    keep(visits, session)
    assert back_in(process()).tracker == "cuts"


def test_masks_that_came_back_are_not_written_again(root, process, visits, session):
    keep(visits, session)

    def written():
        files = (root / "my walk" / "masks").iterdir()
        return {file.name: file.stat().st_mtime_ns for file in files}

    before = written()
    visits = process()
    back = back_in(visits)
    back.source_prompt = "later"
    keep(visits, back)
    assert written() == before


def test_the_model_that_was_chosen_is_chosen_again(process, visits, session):
    session.fields = replace(FIELDS, model="mine.safetensors")
    keep(visits, session)
    assert back_in(process()).chosen_model == "mine.safetensors"


def test_a_tuned_model_of_the_server_is_kept_by_its_name(root, visits, session):
    session.adapters.chosen = Entry("server-mine", "Mine", "mine", None, "Here")
    keep(visits, session)
    assert read_json(root / "my walk" / PAGE)["adapter"] == "mine"


def test_work_is_kept_on_ones_own_machine_alone(monkeypatch, tmp_path):
    for name in ("SPACE_ID", "GRADIO_SERVER_NAME", "REGRAIN_PROJECTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert projects_folder() == tmp_path / "Regrain"
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert projects_folder() is None
    monkeypatch.setenv("REGRAIN_PROJECTS", str(tmp_path / "mine"))
    assert projects_folder() == tmp_path / "mine"
    assert not is_own_machine()
    monkeypatch.setenv("REGRAIN_PROJECTS", "")
    assert projects_folder() is None
    monkeypatch.delenv("REGRAIN_PROJECTS")
    monkeypatch.delenv("GRADIO_SERVER_NAME")
    assert is_own_machine()
    monkeypatch.setenv("GRADIO_SHARE", "True")
    assert not is_own_machine(), "strangers come from this machine, too"
    monkeypatch.delenv("GRADIO_SHARE")
    monkeypatch.setenv("SPACE_ID", "owner/space")
    assert projects_folder() is None


def test_models_have_a_place_on_ones_own_machine_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("REGRAIN_PROJECTS", str(tmp_path))
    for machine, given, place in (
        ("0.0.0.0", None, None),
        ("", "elsewhere", Path("elsewhere")),
        ("", "", None),
        ("", None, tmp_path / "models"),
    ):
        monkeypatch.setenv("GRADIO_SERVER_NAME", machine)
        monkeypatch.setenv("REGRAIN_MODELS", given or "")
        if given is None:
            monkeypatch.delenv("REGRAIN_MODELS")
        place_models(projects_folder())
        assert models_folder() == place


def test_a_clip_of_no_file_is_written_without_loss(process, visits):
    session = visits.get("page")
    assert isinstance(session.opened.request.clip, ArrayClip)
    session.opened = replace(session.opened, name="")
    keep(visits, session)
    back = back_in(process())
    assert np.array_equal(
        np.asarray(back.opened.frames), np.asarray(session.opened.frames)
    )


def test_a_folder_of_version_1_opens_and_is_written_again_key_for_key(
    clip, root, visits
):
    """With masks of every kind, undo and a result, as they were written first."""
    kept = read_json(Path(__file__).parent / "kept_project.json")
    folder = root / "clip"
    for name, content in kept.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        is_mask = name.startswith("masks/")
        content = base64.b64decode(content) if is_mask else json.dumps(content).encode()
        (folder / name).write_bytes(content)
    os.link(clip, folder / "clip.mp4")
    back = back_in(visits)
    assert [run.key for run in back.history.runs] == ["abc"]
    back.kept = replace(back.kept, results=set(), said=())
    shutil.rmtree(folder / "results")
    visits.projects.keep("page", back)
    for name in ("page.json", "results/abc/run.json"):
        again = read_json(folder / name)
        if name == "page.json":
            assert again.pop("rev") == kept[name].pop("rev") + 1
            del again["written"]  # which older folders have not
        assert again == kept[name]


def test_an_interlaced_clip_is_whole_on_the_command_line_too(root, tmp_path, visits):
    path = write_clip(tmp_path / "a.mp4", moving(6), x264_params="tff=1")
    session = opened(visits, path)
    keep(visits, session)
    frames = load_project(root / "a").clip.read(0, 6)
    assert np.array_equal(frames, session.opened.frames.read(0, 6))
    assert not np.array_equal(frames, open_clip(path).read(0, 6))


def said_by(folder):
    """project.json, with what is in the files that it names in place of their names."""
    content = read_json(folder / "project.json")
    request = load_project(folder)
    content["clip"]["path"] = request.clip.read(0, len(request.clip)).tobytes()
    content["masks"] = request.labels.read(0, len(request.clip)).tobytes()
    for part in (content, *content["regions"]):
        for key in ("picture", "adapter"):
            if key in part and part[key]:
                part[key] = (folder / part[key]).read_bytes()
    return content


@pytest.mark.parametrize("method", ["sdedit", "videograin"])
def test_kept_saved_exported_and_opened_again_a_project_says_the_same(
    root, tmp_path, method, monkeypatch, visits
):
    """Of an edit for which every key has another value than by default."""
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    save_adapter(tuned_model(), tmp_path / "tuned.safetensors")
    visits.projects.ask = lambda session, values: session.opened.request.asked
    files = ClipFiles(visits, visits.media)
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(moving(5)):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{number}.png")
    labels = np.zeros((2, 48, 64), np.uint8)
    labels[:, 5:30, 5:30] = REGION["label"]
    several = () if method == "videograin" else EDIT["more_prompts"]
    own = {"method": method, "more_prompts": several, "adapter": "tuned.safetensors"}
    clip = open_clip(tmp_path / "frames", 1, 2, 2)
    request = EditRequest(clip, labels, (Region(**REGION),), **EDIT | own)
    save_project(request, tmp_path / "saved")
    session = opened(visits, tmp_path / "saved")
    session.fields = FIELDS
    expected = said_by(tmp_path / "saved")
    assert expected.keys() >= {*EDIT} - {"size", "more_prompts"}
    keep(visits, session)
    assert said_by(root / "saved") == expected
    assert not (root / "saved" / "adapter.safetensors").exists(), "written twice"
    archive = files.save(session, build_request(session, request.asked), None, "page")
    zipfile.ZipFile(archive).extractall(tmp_path / "exported")
    assert said_by(tmp_path / "exported") == expected
    save_project(load_project(root / "saved"), tmp_path / "again")
    assert said_by(tmp_path / "again") == expected
    visits.leave("page")
    back = visits.open_project("another page", "saved")
    back.kept.said = ()
    visits.projects.keep("another page", back)
    assert said_by(root / "saved") == expected
    # Only while its words are the project's, its prompt counts for such a method.
    back.describe({"regions": [{"label": REGION["label"], "prompt": "a bear"}]})
    visits.projects.keep("another page", back)
    asked = build_request(back, request.asked)
    assert load_project(root / "saved").prompt == asked.prompt


def test_a_clip_without_letters_is_kept_under_a_name(visits, tmp_path, root):
    keep(visits, work(visits, written_noise(tmp_path / "!!!.mp4", HEIGHT, WIDTH)))
    assert [folder.name for folder in root.iterdir() if folder.is_dir()] == ["clip"]


def test_what_is_tracked_leaves_a_drawn_frame_as_it_is(session):
    label = next(iter(session.state.layers))
    drawn = session.state.with_layer(
        label, MaskLayer().with_key(1, Key(((9.0, 9.0, True),), found=pack(box(2, 3))))
    )
    assert drawn.layers[label].drawn == [1]
    assert drawn.tracked(label, 1, box(20, 30), 0.5) is drawn
    assert drawn.tracked(label, 2, box(20, 30), 0.5).layers[label].score == {2: 0.5}


def test_a_project_is_opened_by_its_file_too(visits, clip, tmp_path):
    folder = tmp_path / "project"
    save_project(EditRequest(open_clip(clip), None, (), prompt="a pig"), folder)
    for path in (folder, folder / "project.json", f'"{folder}/project.json"'):
        assert opened(visits, path).prompt == "a pig"


def test_masks_that_are_gone_are_named_and_come_back(process, root, visits, session):
    keep(visits, session)
    masks = root / "my walk" / "masks"
    masks.rename(root / "aside")
    with pytest.raises(RequestError, match="'masks/.* is missing .* Put it back"):
        process().open_project("other", "my walk")
    (root / "aside").rename(masks)
    assert process().open_project("other", "my walk").state.layers

"""What a page may ask a model for: nothing is downloaded and no path opened for a
stranger."""

import itertools
import tracemalloc
import zipfile
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_clips import black, moving
from PIL import Image
from running import negative

from regrain.editing import ArrayClip, EditRequest, Region, edit
from regrain.editing.errors import RequestError
from regrain.editing.media import lazy_frames
from regrain.editing.media.lazy_frames import DiskFrames, LazyFrames, frames_of, windows
from regrain.editing.media.reading import VideoClip
from regrain.editing.media.writing import write_video
from regrain.editing.pipeline.layers import kept_layers
from regrain.editing.pipeline.outputs import FORMATS, file_in, write_format
from regrain.editing.recipe.events import EditResult, Finished, Ready, WindowStarted
from regrain.editing.request.edit import Edit
from regrain.masks.draw import pack
from regrain.ui.server.media import Media
from regrain.ui.session import clips
from regrain.ui.session.build_request import build_request
from regrain.ui.session.clips import open_upload
from regrain.ui.session.session import Session
from regrain.ui.values.history import Choices, History
from regrain.ui.values.layers import MaskLayer
from regrain.ui.views import result_views
from regrain.ui.work import jobs as work_jobs
from regrain.ui.work.catalogue import Catalogue
from regrain.ui.work.jobs import LAYERS, Begun, Jobs, RunJob


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of models: a LoRA, a file with a name no project could give, motion
    adapters."""
    folder = tmp_path / "models" / "loras"
    folder.mkdir(parents=True)
    for name in ("ink", "a b"):
        (folder / f"{name}.safetensors").write_bytes(b"")
    (tmp_path / "models" / "motion" / "v1.5").mkdir(parents=True)
    (tmp_path / "models" / "motion" / "lcm.safetensors").write_bytes(b"")
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path / "models"))
    return folder


def asking(**more):
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[:, 8:40, 8:40] = 1
    clip = black(1, 64, 64)
    return EditRequest(clip, labels, (Region("cat", 1, prompt="a fox"),), **more)


@pytest.fixture
def jobs(tmp_path):
    """Makes jobs of an editor, on a model without words."""
    return lambda edit: Jobs(edit, Catalogue({}, tmp_path), Media(tmp_path / "media"))


MOTIONS = ["storybook/motion", "motion/lcm", "motion/v1.5"]
CONTROLS = "^params.control: .*(Use|Choose from) storybook/canny"
ASK = {
    "loras": lambda name: (name,),
    "motion": str,
    "params": lambda name: {"control": f"canny={name}"},
}


@pytest.mark.parametrize(
    ("field", "strangers", "refused", "offered"),
    [
        (
            "loras",
            "{shelf}/ink.safetensors|loras/a b",
            "^loras: .*loras/ink",
            "loras/ink@0.5",
        ),
        (
            "motion",
            "{shelf}|loras/ink",
            f"^motion: .*{', '.join(MOTIONS)}",
            "motion/v1.5@0.5",
        ),
        ("params", "{shelf}|storybook", CONTROLS, "storybook/canny@0.7"),
    ],
)
def test_what_is_here_is_offered_and_nothing_else(
    shelf, jobs, field, strangers, refused, offered
):
    ran = []

    def edit(request):
        ran.append(request)
        yield from ()

    made = jobs(edit)
    assert (made.catalogue.loras, made.catalogue.motions) == (["loras/ink"], MOTIONS)
    for stranger in ("owner/name", *strangers.format(shelf=shelf).split("|")):
        with pytest.raises(RequestError, match=refused):
            next(made.run(RunJob(asking(**{field: ASK[field](stranger)}), "page")))
    assert not ran
    with pytest.raises(RuntimeError, match="without a result"):  # the fake editor's
        next(made.run(RunJob(asking(**{field: ASK[field](offered)}), "page")))
    (request,) = ran
    assert getattr(request, field) == ASK[field](offered)


def test_the_project_of_a_run_keeps_whole_masks_that_overlap(jobs, tmp_path):
    whole = np.zeros((1, 64, 64), bool)
    whole[:, 4:50, 4:50] = True
    upper = asking()
    regions = (*upper.regions, replace(upper.regions[0], name="dog", label=2))
    labels = np.where(upper.labels == 1, 1, 2 * whole).astype(np.uint8)
    request = replace(upper, regions=regions, labels=labels)
    (*_, saved) = jobs(negative).run(
        RunJob(request, "page", whole={1: request.labels == 1, 2: whole})
    )
    opened, _ = open_upload(Path(saved.files["project.zip"]), tmp_path / "again")
    session = Session(opened)
    assert (session.state.mask(2, 0) == whole[0]).all()
    assert (opened.request.labels == labels).all()


SIDE, WINDOW = 64, 8


def long_edit(request):
    """The negative, window by window."""
    clip, done = request.clip, DiskFrames(SIDE, SIDE)
    for start, stop in windows(len(clip), WINDOW):
        yield WindowStarted(
            start // WINDOW + 1,
            -(-len(clip) // WINDOW),
            stop - start,
            len(clip) - start,
        )
        done.append(255 - clip.read(start, stop))
        if stop < len(clip):
            yield Ready(LazyFrames(done.shape, np.uint8, done.read))
    yield Finished(EditResult(done, done, frames_of(clip), request.edited_mask, {}), {})


def run_long(jobs, frames):
    """Run a long edit; its items and the most bytes of memory that it and the views of
    its result took."""

    def drawn(start, stop):
        ramp = np.arange(start, stop, dtype=np.uint8)[:, None, None, None]
        return np.broadcast_to(ramp, (stop - start, SIDE, SIDE, 3)).copy()

    clip = ArrayClip(LazyFrames((frames, SIDE, SIDE, 3), np.uint8, drawn), Fraction(24))
    request = EditRequest(clip, None, (), prompt="a fox", method="sdedit")
    tracemalloc.start()
    try:
        items = list(jobs(long_edit).run(RunJob(request, "page")))
        finished = items[-1].finished
        result_views.result(finished.result, finished.report, request, items[-1].files)
        return items, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_first_frames_are_written_as_they_grow_and_memory_does_not(jobs):
    run_long(jobs, 16)  # what is loaded once
    (_, short), (items, long) = run_long(jobs, 24), run_long(jobs, 240)
    # Of 216 more frames what is said of each grows (.5 to .7 kB), and no picture of them.
    assert long - short < 216 * SIDE * SIDE
    begun = [item for item in items if isinstance(item, Begun)]
    assert [item.frames for item in begun] == [8, 16, 24, 40, 64, 96, 144, 216]
    assert [Path(item.path).is_file() for item in begun] == [*[False] * 6, True, True]
    written = VideoClip(Path(begun[-1].path))
    assert len(written) == 216
    assert abs(int(written.read(40, 41).mean()) - (255 - 40)) <= 2
    assert not any(isinstance(item, Ready) for item in items)  # which holds frames


@pytest.fixture
def put_back(jobs, tmp_path):
    """Edits a part of a film; what is said of the whole, and its video."""

    def put_back(frames, *part):
        write_video(tmp_path / "film.mp4", frames, Fraction(8))
        opened, _ = open_upload(tmp_path / "film.mp4", tmp_path / "clip", *part)
        request = replace(opened.request, prompt="a fox", method="sdedit")
        (*_, saved) = jobs(negative).run(RunJob(request, "page", opened))
        result, report = saved.finished.result, saved.finished.report
        said = result_views.result(result, report, request, saved.files).whole
        return said, "whole.mp4" in saved.files and VideoClip(
            Path(saved.files["whole.mp4"])
        )

    return put_back


@pytest.mark.parametrize(
    ("part", "can"), [((2, 1, 6), True), ((2, 2, 6), False), ((0, 1, 20), False)]
)
def test_an_edit_of_a_stretch_is_put_back_into_its_file(put_back, part, can):
    said, whole = put_back(np.zeros((20, 64, 64, 3), np.uint8), *part)
    assert bool(whole) is can
    assert ("frames 3 to 8 edited; the rest is unchanged" in said) is can


CHEAP = ("steps", 1), ("preview_every", 0), ("cuts", "none")


@pytest.fixture
def plate(jobs, small, tmp_path, monkeypatch):
    """The edit of a plate, of which a small copy is shown, by a model: the clip, and
    what was saved; `focus` says where it works."""
    monkeypatch.setattr(clips, "MAX_SIDE", 128)
    numbers = itertools.count()
    frames = moving(3, 192, 144).repeat(2, 1).repeat(2, 2)
    write_video(tmp_path / "plate.mp4", frames, Fraction(8))

    def run(**asked):
        folder = tmp_path / f"clip{next(numbers)}"
        opened, _ = open_upload(tmp_path / "plate.mp4", folder, any_size=True)
        session = Session(opened)
        label = session.add_region()
        mask = np.zeros((len(frames), *session.state.size[::-1]), bool)
        mask[:, 20:40, 60:80] = True
        track = {at: pack(one) for at, one in enumerate(mask)}
        layer = MaskLayer({}, track, dict.fromkeys(track, 1.0))
        session.commit(session.state.with_layer(label, layer))
        region = {"label": label, "prompt": "a fox", "margin": 2}
        session.describe({"regions": [region]})
        given = {"params": dict(CHEAP), "method": "sdedit", "size": 64}
        request = build_request(session, Edit(**given | asked))
        made = jobs(partial(edit, backbone=small))
        (*_, saved) = made.run(RunJob(request, "page", opened))
        return opened, request, saved

    return run


@pytest.mark.parametrize("focus", ["on 0.1", "off"])
def test_a_plate_is_edited_and_handed_out_in_its_size(plate, focus):
    opened, request, saved = plate(focus=focus)
    size = (384, 288)
    result = saved.finished.result
    source = request.clip.read(0, 3)
    frames = result.frames[:]
    assert frames.shape == source.shape == (3, *size[::-1], 3)
    shown = result.matte[:] > 0
    assert 0 < shown.mean() < 0.3
    assert np.array_equal(frames[~shown], source[~shown])
    assert (frames[shown] != source[shown]).any()
    if focus != "off":
        (box,) = saved.finished.report["focus"]
        assert box["path"].split("+")[0] != "384x288"
    for name in ("edited.mp4", "masks.mp4"):
        video = VideoClip(saved.folder / "out" / name)
        assert video.size == size
    assert VideoClip(Path(saved.copies["edited.mp4"])).size == opened.size == (128, 96)
    choices = Choices.of(request, "", "", opened.size)
    media = Media(saved.folder / "media")
    shown = result_views.remember(History(), saved, request, choices, opened, media)
    player, result_view = shown
    assert player.edits[0].path == saved.copies["edited.mp4"]
    (file,) = [one for one in result_view.files if one.name == "edited.mp4"]
    assert VideoClip(Path(file.path)).size == size
    layers = kept_layers(saved.folder / LAYERS, saved.folder / "out" / "edited.mp4")
    for name in FORMATS:
        file = saved.folder / file_in(name)
        write_format(name, layers, file)
        if file.suffix == ".mov":
            assert VideoClip(file).size == size
            continue
        with zipfile.ZipFile(file) as packed, packed.open(packed.namelist()[2]) as one:
            assert Image.open(one).size == size
    with (
        zipfile.ZipFile(saved.files["project.zip"]) as packed,
        packed.open("masks/00001.png") as one,
    ):
        assert Image.open(one).size == size


@pytest.mark.full
def test_a_plate_of_3840x2160_is_edited_in_a_box_and_kept_whole_around_it(
    jobs, small, tmp_path
):
    """Its thing is round, which a mask of the copy is not."""
    y, x = np.mgrid[:2160, :3840]
    thing = np.hypot(x - 1500, y - 1000) < 200
    frame = np.where(thing[..., None], (170, 80, 60), (60, 110, 80)).astype(np.uint8)
    write_video(tmp_path / "plate.mp4", [frame] * 2, Fraction(24))
    opened, _ = open_upload(tmp_path / "plate.mp4", tmp_path / "clip", any_size=True)
    assert (opened.size, opened.request.clip.size) == ((1280, 720), (3840, 2160))
    session = Session(opened)
    label = session.add_region()
    mask = opened.frames[0][..., 0] > opened.frames[0][..., 1]
    layer = MaskLayer({}, dict.fromkeys(range(2), pack(mask)), {0: 1.0, 1: 1.0})
    session.commit(session.state.with_layer(label, layer))
    session.describe({"regions": [{"label": label, "prompt": "a fox"}]})
    given = {"params": dict(CHEAP), "method": "sdedit", "size": 64, "focus": "auto"}
    request = build_request(session, Edit(**given))
    assert ((request.labels[1] > 0) ^ thing).sum() < thing.sum() / 250
    made = jobs(partial(edit, backbone=small))
    (*_, saved) = made.run(RunJob(request, "page", opened))
    result = saved.finished.result
    source = request.clip.read(1, 2)[0]
    shown = result.matte[1] > 0
    assert shown[thing].mean() > 0.99
    assert shown.mean() < 0.1
    assert np.array_equal(result.frames[1][~shown], source[~shown])
    (box,) = saved.finished.report["focus"]
    assert max(map(int, box["path"].split("+")[0].split("x"))) < 1300
    assert VideoClip(saved.folder / "out" / "edited.mp4").size == (3840, 2160)
    assert VideoClip(Path(saved.copies["edited.mp4"])).size == (1280, 720)


def test_frames_of_a_plate_are_read_and_written_one_at_a_time(plate, monkeypatch):
    """And on disk they are as small as they were drawn."""
    together = []
    on_disk = []
    read = VideoClip.read
    begin = DiskFrames.__init__

    def begun(frames, *sides):
        on_disk.append(sides)
        begin(frames, *sides)

    def noted(clip, start, stop):
        together.append(stop - start)
        return read(clip, start, stop)

    monkeypatch.setattr(VideoClip, "read", noted)
    monkeypatch.setattr(DiskFrames, "__init__", begun)
    monkeypatch.setattr(lazy_frames, "_HELD", 1)
    _, _, saved = plate(focus="off")
    layers = kept_layers(saved.folder / LAYERS, saved.folder / "out" / "edited.mp4")
    for name in FORMATS:
        write_format(name, layers, saved.folder / file_in(name))
    assert set(together) == {1}
    assert {min(sides) for sides in on_disk} == {64}


def test_layers_that_the_disk_has_no_room_for_are_left_out_and_it_is_said(
    plate, monkeypatch
):
    monkeypatch.setattr(work_jobs, "_MOST_LAYERS", 0)
    frame_bytes = 3 * 384 * 288
    room = SimpleNamespace(free=4 * 3 * frame_bytes - 1)
    monkeypatch.setattr(work_jobs, "disk_usage", lambda folder: room)
    _, _, saved = plate(focus="off")
    assert not (saved.folder / LAYERS).exists()
    assert "no room on the disk" in saved.finished.report["warnings"][-1]
    room.free += 1
    _, _, saved = plate(focus="off")
    assert (saved.folder / LAYERS).is_dir()


def test_a_clip_that_was_scaled_down_is_put_back_at_its_size(put_back, monkeypatch):
    monkeypatch.setattr(clips, "MAX_SIDE", 64)
    said, whole = put_back(np.full((6, 96, 128, 3), 90, np.uint8), 1, 1, 2)
    assert whole.size == (64, 48)
    assert [round(frame.mean() / 5) for frame in whole.read(0, 6)] == [
        18,
        33,
        33,
        18,
        18,
        18,
    ]
    assert "frames 2 to 3 edited; the whole is scaled to 64x48" in said

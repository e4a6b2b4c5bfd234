"""What a page may ask a model for: nothing is downloaded and no path opened for a
stranger."""

import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from made_clips import black
from running import negative

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.errors import RequestError
from regrain.editing.media.lazy_frames import DiskFrames, LazyFrames, frames_of, windows
from regrain.editing.media.reading import VideoClip
from regrain.editing.media.writing import write_video
from regrain.editing.recipe.events import EditResult, Finished, Ready, WindowStarted
from regrain.ui.server.media import Media
from regrain.ui.session import clips
from regrain.ui.session.clips import open_upload
from regrain.ui.session.session import Session
from regrain.ui.views import result_views
from regrain.ui.work.catalogue import Catalogue
from regrain.ui.work.jobs import Begun, Jobs, RunJob


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

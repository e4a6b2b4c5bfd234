"""Clips larger than the copy that a page shows: all that it has goes back into them in
their own size."""

import zipfile
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from kept_work import kill, store_over
from PIL import Image

from regrain.editing import (
    ArrayClip,
    ClipError,
    EditRequest,
    MaskError,
    Region,
    RequestError,
    load_project,
)
from regrain.editing.media.reading import VideoClip
from regrain.editing.media.writing import write_video
from regrain.editing.request.edit import Edit
from regrain.editing.request.project import save_project
from regrain.masks.draw import BrushStroke, iou, pack, pack_copy, unpack_whole
from regrain.ui.server.media import Media
from regrain.ui.session import clips
from regrain.ui.session.build_request import (
    build_request,
    masks_of,
    planned,
    whole_masks,
)
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.session.clips import open_upload, prepare
from regrain.ui.session.mask_edits import add_edit
from regrain.ui.session.mask_files import import_masks, write_tracks
from regrain.ui.session.session import Session
from regrain.ui.values.history import Choices
from regrain.ui.values.layers import MaskLayer
from regrain.ui.views.focus_view import focus_view
from regrain.ui.views.session_views import canvas

FRAMES, WIDTH, HEIGHT = 3, 192, 144
SMALL = (64, 48)  # of the copy


@pytest.fixture(autouse=True)
def _small_copies(monkeypatch):
    """Copies have at most 64 pixels a side."""
    monkeypatch.setattr(clips, "MAX_SIDE", 64)


def disc(frame, width=WIDTH, height=HEIGHT):
    """A round thing that moves, and has waves."""
    y, x = np.mgrid[:height, :width] / height
    y, x = y - 0.5, x - 0.6 - frame / 20
    waves = 1 + 0.1 * np.sin(9 * np.arctan2(y, x))
    return np.hypot(x, y) < 0.3 * waves


TRUE = np.stack([disc(frame) for frame in range(FRAMES)])


def plate(masks=TRUE):
    """Frames on which such a thing has a colour of its own."""
    rough = np.random.default_rng(0).integers(0, 24, (*masks.shape[1:], 1), np.uint8)
    return np.where(masks[..., None], (170, 80, 60), (60, 110, 80)).astype("u1") + rough


def small(mask, size=SMALL):
    return cv2.resize(mask.astype("f4"), size, interpolation=cv2.INTER_AREA) > 0.5


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "plate.mp4"
    write_video(path, plate(), Fraction(8), crf=0)
    return path


@pytest.fixture
def session(file, tmp_path):
    """A plate whose thing was tracked on the copy."""
    opened, _ = open_upload(file, tmp_path / "served", any_size=True)
    session = Session(opened)
    tracked(session, {at: pack(small(mask)) for at, mask in enumerate(TRUE)})
    return session


def tracked(session, track):
    label = session.add_region()
    layer = MaskLayer({}, track, dict.fromkeys(track, 1.0))
    session.commit(session.state.with_layer(label, layer))
    session.state = session.state.change_region(label, prompt="a fox")
    return label


def asked(session, **more):
    return build_request(session, Edit(focus=session.focus, **more))


def test_a_plate_keeps_its_size_and_a_copy_is_shown(file, tmp_path):
    opened, note = open_upload(file, tmp_path / "served", any_size=True)
    assert opened.request.clip.size == opened.file_size == (WIDTH, HEIGHT)
    assert (opened.size, opened.clip.size) == (SMALL, SMALL)
    assert "a copy of 64x48; edits and masks are saved in 192x144" in note
    copy = cv2.resize(opened.request.clip.read(1, 2)[0], SMALL, interpolation=3)
    assert np.array_equal(opened.frames[1], copy)
    shown = canvas(Session(opened)).clip
    assert (shown.width, shown.height, shown.size) == (*SMALL, "192×144")


def test_a_visitors_clip_is_scaled_and_told_so(file, tmp_path, monkeypatch):
    opened, note = open_upload(file, tmp_path / "served")
    assert opened.request.clip.size == opened.size == SMALL
    assert "scaled to 64x48, as it is for visitors and programs; on the page of" in note
    monkeypatch.setattr(clips, "MAX_SOURCE_SIDE", 128)
    with pytest.raises(ClipError, match=r"192x144 .* visitor .* at most 128 per side"):
        open_upload(file, tmp_path / "refused")
    assert open_upload(file, tmp_path / "own", any_size=True)[0].size == SMALL


def test_edges_run_where_the_plate_has_them(session):
    labels = asked(session).labels
    assert labels.shape == TRUE.shape
    for at, mask in enumerate(TRUE):
        nearest = small(mask).repeat(3, 0).repeat(3, 1)
        wrong = (labels[at] > 0) ^ mask
        assert wrong.sum() < 0.7 * (nearest ^ mask).sum()


def test_masks_go_out_as_large_as_the_clip(session, tmp_path):
    session.add_rest()
    request = asked(session)
    assert whole_masks(session, request) is None
    write_tracks(
        masks_of(session), session.state.regions, Fraction(8), tmp_path / "m.mkv"
    )
    assert VideoClip(tmp_path / "m.mkv").size == (WIDTH, HEIGHT)
    first, rest = (mask[1] for mask in masks_of(session).values())
    assert np.array_equal(rest, ~first)
    tracked(session, {0: pack(np.roll(small(TRUE[0]), 5, 1))})
    over = whole_masks(session, asked(session))
    assert over
    assert {mask.shape for mask in over.values()} == {TRUE.shape}


def test_masks_of_a_file_in_its_size_stay_as_they_are(session, tmp_path):
    """And what is too small for the copy is not lost."""
    noise = np.random.default_rng(1).random(TRUE.shape) < 0.5
    noise[2] = False
    noise[2, 70, 90] = True
    folder = tmp_path / "in"
    folder.mkdir()
    for at, mask in enumerate(noise):
        Image.fromarray(255 * mask.view("u1")).save(folder / f"{at:05d}.png")
    (tmp_path / "upload").mkdir()
    session.state = session.state.delete(1)
    import_masks(
        session, [str(one) for one in sorted(folder.iterdir())], tmp_path / "upload"
    )
    (label,) = session.state.layers
    assert np.array_equal(session.masks(label)[:], noise)
    assert session.state.mask(label, 2).sum() == 1
    # what is painted on the copy is carried up
    add_edit(session, label, 0, BrushStroke(((32, 24),), 10))
    painted = session.masks(label)
    assert painted[0][63:81, 87:105].all()
    assert np.array_equal(painted[1:], noise[1:])


def test_a_mask_of_another_size_is_refused_by_that_of_the_clip(session, tmp_path):
    Image.fromarray(np.eye(32, dtype=bool)).save(tmp_path / "00000.png")
    with pytest.raises(MaskError, match="is 32x32, but the clip is 192x144"):
        import_masks(session, [str(tmp_path / "00000.png")], tmp_path)


def test_a_packed_copy_holds_the_whole():
    whole = TRUE[0]
    packed = pack_copy(whole, SMALL)
    assert np.array_equal(unpack_whole(packed, (WIDTH, HEIGHT)), whole)
    assert unpack_whole(pack(whole), (WIDTH, HEIGHT)) is None
    assert pack_copy(whole, (WIDTH, HEIGHT)) == pack(whole)
    assert unpack_whole(None, SMALL) is None
    assert pack_copy(np.zeros_like(whole), SMALL) == b""


BOXES = "99x99+61+31+70+31+70+31"


@pytest.fixture
def project(tmp_path):
    """A project of a plate, with margins and boxes in its pixels."""
    regions = (Region("thing", 1, prompt="a fox", margin=31, feather=4),)
    request = EditRequest(
        ArrayClip(plate(), Fraction(8)),
        TRUE.astype(np.uint8),
        regions,
        focus=BOXES,
    )
    save_project(request, tmp_path / "project")
    return tmp_path / "project"


def test_a_run_is_remembered_in_pixels_of_the_copy(project, tmp_path):
    opened = prepare("", "project", load_project(project), tmp_path / "served")
    chosen = Choices.of(opened.request, "", "", opened.size)
    session = Session(opened)
    assert (chosen.edit.focus, *chosen.regions) == (
        session.focus,
        *session.state.regions.values(),
    )
    assert Choices.of(opened.request, "", "").regions == opened.request.regions


def test_what_a_project_says_in_its_pixels_stays(project, tmp_path):
    opened = prepare("", "project", load_project(project), tmp_path / "served")
    session = Session(opened)
    region = session.state.regions[1]
    assert (region.margin, region.feather) == (10, 1)
    assert session.focus == "33x33+20+10+23+10+23+10"
    request = asked(session)
    assert (request.regions[0].margin, request.regions[0].feather) == (31, 4)
    assert np.array_equal(request.labels[:], TRUE)
    assert request.focus == BOXES
    session.choose_focus("33x33+20+11")
    assert asked(session).focus == "99x99+60+33"
    session.describe({"regions": [{"label": 1, "margin": 12}]})
    assert (asked(session).regions[0].margin, asked(session).regions[0].feather) == (
        36,
        3,
    )


def test_the_box_that_is_shown_is_that_of_the_run(session):
    thing = np.zeros(SMALL[::-1], bool)
    thing[20:26, 30:36] = True
    session.state = session.state.delete(1)
    tracked(session, dict.fromkeys(range(FRAMES), pack(thing)))
    session.choose_focus("on 0")
    request = planned(session, "storybook", {"cuts": "none"})
    shown = focus_view(session, request)
    (box,) = shown.boxes
    session.choose_focus(box.path)  # it is in the picture that the page shows
    again = asked(session)
    small_box, large = (
        np.array([int(part) for part in text.replace("x", "+").split("+")[:4]])
        for text in (box.path, again.focus)
    )
    assert np.array_equal(large, 3 * small_box)
    width, height, left, top = small_box
    assert left <= 30 <= 36 <= left + width
    assert top <= 20 <= 26 <= top + height
    automatic = session.state.regions[1].effective_margin(SMALL)
    assert shown.margins["1"][0] == automatic == 3


def store(root, tmp_path, name):
    first = replace(
        prepare(
            "",
            "first",
            EditRequest(ArrayClip(plate()[:1]), None, ()),
            tmp_path / f"first{name}",
        ),
        name="00_first",
    )
    return store_over(root, Media(tmp_path / f"media{name}"), first)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "Regrain"


def kept_by(visits, file):
    session = ClipFiles(visits, visits.media).open_path("page", str(file))[0]
    tracked(session, {at: pack(small(mask)) for at, mask in enumerate(TRUE)})
    tracked(session, {0: pack_copy(np.roll(TRUE[0], 31, 1), SMALL)})
    visits.projects.keep("page", session)
    return session


@pytest.fixture
def own(monkeypatch):
    """Says whether the machine is one's own."""
    monkeypatch.setenv("GRADIO_SERVER_NAME", "127.0.0.1")
    return lambda yes: monkeypatch.setenv(
        "GRADIO_SERVER_NAME", "127.0.0.1" if yes else "0.0.0.0"
    )


def test_a_kept_plate_comes_back_and_is_run_by_the_command_line(
    file, root, tmp_path, own
):
    session = kept_by(visits := store(root, tmp_path, 0), file)
    folder = session.kept.folder
    whole = {label: session.masks(label)[:] for label in (1, 2)}
    request = load_project(folder)
    assert request.clip.size == (WIDTH, HEIGHT)
    assert np.array_equal(request.labels[:] == 1, whole[1])
    kill(visits)
    back = store(root, tmp_path, 1).arrive("page", "connection")
    assert (back.opened.size, back.opened.request.clip.size) == (SMALL, (WIDTH, HEIGHT))
    for label in (1, 2):
        assert np.array_equal(back.masks(label)[:], whole[label])
    assert np.array_equal(whole[2][0], np.roll(TRUE[0], 31, 1))


def test_a_project_that_kept_a_scaled_clip_gets_its_file_back(
    file, root, tmp_path, own
):
    """As earlier versions kept them."""
    own(False)
    before = kept_by(visits := store(root, tmp_path, 0), file)
    folder = before.kept.folder
    assert load_project(folder).clip.size == SMALL
    kill(visits)
    own(True)
    visits = store(root, tmp_path, 1)
    back = visits.arrive("page", "connection")
    assert back.opened.request.clip.size == (WIDTH, HEIGHT)
    assert np.array_equal(back.state.mask(1, 1), before.state.mask(1, 1))
    assert iou(back.masks(1)[1], TRUE[1]) > 0.97
    back.add_rest()
    visits.projects.keep("page", back)
    assert load_project(folder).clip.size == (WIDTH, HEIGHT)


def test_a_project_that_kept_a_large_clip_whole_comes_back_as_it_was(
    project, root, tmp_path, own, monkeypatch
):
    """Earlier versions made no copy of the clip of a project folder."""
    with monkeypatch.context() as before:
        before.setattr(clips, "MAX_SIDE", 1280)
        session = ClipFiles(visits := store(root, tmp_path, 0), visits.media).open_path(
            "page", str(project)
        )[0]
        session.add_rest()
        visits.projects.keep("page", session)
        kill(visits)
    back = store(root, tmp_path, 1).arrive("page", "connection")
    assert back.opened.size == back.opened.request.clip.size == (WIDTH, HEIGHT)
    assert np.array_equal(back.masks(1)[:], TRUE)


def test_other_frames_of_a_plate_keep_their_masks(file, root, tmp_path, own):
    visits = store(root, tmp_path, 0)
    session = kept_by(visits, file)
    whole = session.masks(1)[1]
    ClipFiles(visits, visits.media).trim("page", {"start": 1, "stride": 1, "frames": 2})
    assert session.opened.request.clip.size == (WIDTH, HEIGHT)
    assert np.array_equal(session.masks(1)[0], whole)


def test_a_saved_plate_is_opened_again_on_ones_own_machine_alone(session, tmp_path):
    files = ClipFiles(None, Media(tmp_path / "media"))
    archive = files.save(session, asked(session), None, "page")
    again, _ = open_upload(archive, tmp_path / "again", any_size=True)
    assert again.request.clip.size == (WIDTH, HEIGHT)
    with zipfile.ZipFile(archive) as packed:
        assert "project.json" in packed.namelist()
    with pytest.raises(RequestError, match="visitor of this server, which takes 64"):
        open_upload(archive, tmp_path / "refused")

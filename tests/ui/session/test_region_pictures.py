"""Pictures of regions on the page: taken in, cut out, undone, shared, and refused in
one line."""

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from regrain.editing.media.images import read_picture
from regrain.editing.request.edit import Edit
from regrain.ui.handlers.masking import Masking
from regrain.ui.session import region_pictures
from regrain.ui.session.build_request import build_request
from regrain.ui.views import session_views


def disc(image, points, labels, method=""):
    """A made-up finder: a disc of radius 8 around the first click without those around
    the others."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    discs = [(x - at[0]) ** 2 + (y - at[1]) ** 2 < 64 for at in points]
    mask = discs[0]
    for other, inside in zip(discs[1:], labels[1:], strict=True):
        mask = mask | other if inside else mask & ~other
    return mask


@pytest.fixture
def act(open_clip, visits_of):
    session = (visits := visits_of(open_clip("clip"))).get("page")
    session.label = session.add_region()

    def act(label=session.label, **more):
        event = {
            "id": "",
            "have": session.rev,
            "label": label,
            "act": "picture",
            **more,
        }
        return Masking(visits, disc).act("page", event)

    act.session = session
    return act


@pytest.fixture
def toy():
    """A file that has arrived."""
    folder = Path(get_upload_folder()) / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), (200, 30, 30)).save(folder / "toy.png")
    return str(folder / "toy.png")


def picture_of(session, label=None):
    """The path of the picture of a region."""
    return session.state.regions[label or session.label].picture


def pixels_of(session):
    return read_picture(Path(picture_of(session)), "picture")


def veil_of(view) -> np.ndarray:
    content = view.veil.partition("base64,")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_a_picture_is_shown_on_the_ground_that_its_method_sees(act, toy):
    """White for VACE, grey for picture adapters; above and below it is none of it."""
    act(how="file", path=toy)
    corners = {}
    for method in ("videograin", "vace"):
        act.session.method = method
        first = next(
            one for one in session_views.cards(act.session).regions if one.picture
        )
        content = first.picture.partition("base64,")[2]
        shown = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
        corners[method] = shown.getpixel((2, 2))
    assert corners["vace"] == pytest.approx((255, 255, 255), abs=3)
    assert corners["videograin"] == pytest.approx((128, 128, 128), abs=3)


def test_a_finder_that_finds_nothing_leaves_the_picture(act, toy):
    act(how="file", path=toy)
    whole = picture_of(act.session)
    answer = act(how="cut", points=[[0.5, 0.5, 0]])[0]
    assert "Click the thing first" in answer.note
    answer = act(how="cut", points=[[0.5, 0.5, 1], [0.5, 0.5, 0]])[0]
    assert answer.note == region_pictures.NOTHING
    assert answer.cutting.points == []
    assert picture_of(act.session) == whole


def test_what_is_half_transparent_stays_so_when_it_is_cut_out(act, toy):
    Image.new("RGBA", (60, 40), (200, 30, 30, 128)).save(toy)
    act(how="file", path=toy)
    act(how="cut", points=[[0.5, 0.5, 1]])
    assert pixels_of(act.session)[8, 8].tolist() == [200, 30, 30, 128]
    Image.new("RGBA", (60, 40)).save(toy)
    act(how="file", path=toy)
    assert act(how="cut", points=[[0.5, 0.5, 1]])[0].note == region_pictures.NOTHING


def test_a_picture_that_was_written_anew_is_shown_anew(toy):
    before = region_pictures.as_seen(toy)
    Image.new("RGB", (60, 40), (0, 200, 0)).save(toy)
    os.utime(toy, ns=(1, 1))
    assert region_pictures.as_seen(toy) != before
    Path(toy).unlink()
    assert region_pictures.as_seen(toy) == ""


def test_a_picture_is_taken_cut_out_and_undone(act, toy):
    session, label = act.session, act.session.label
    assert act(how="file", path=toy)[1] is session  # the cards must change, too
    whole = picture_of(session)
    assert pixels_of(session).shape == (40, 60, 4)
    view = act(how="cut", points=[[0.5, 0.5, 1]])[0].cutting
    assert veil_of(view)[20, 30, 3] == 0
    assert veil_of(view)[0, 0, 3] > 0
    cut = pixels_of(session)
    assert cut.shape[:2] == (17, 17)  # the disc has 15 pixels a side
    assert cut[8, 8].tolist() == [200, 30, 30, 255]
    assert cut[0, 0, 3] == 0
    # More clicks go on from the whole picture; what is beside the thing is taken away.
    view = act(how="cut", points=[[0.5, 0.5, 1], [0.6, 0.5, 1]])[0].cutting
    assert pixels_of(session).shape[0] == 23
    act(how="cut", points=[[0.5, 0.5, 1], [0.6, 0.5, 0]])
    less = pixels_of(session)
    assert (less[..., 3] > 0).sum() < (cut[..., 3] > 0).sum()
    session.undo()
    assert act(how="open")[0].cutting == view  # its clicks come back with it
    act(how="cut", points=[])
    assert picture_of(session) == whole
    other = session.add_region()
    act(label=other, how="same", other=label)
    act(how="remove")
    assert [picture_of(session, n) for n in (label, other)] == ["", whole]


def test_a_run_gets_the_picture_its_scale_and_what_sees_it(act, toy):
    session, label = act.session, act.session.label
    act(how="file", path=toy)
    session.describe({"regions": [{"label": label, "picture_scale": 0.35}]})
    edit = Edit(method="fresco", picture_adapter="pictures/ip")
    asked = build_request(session, edit, masked=False)
    assert [(p.label, p.scale) for p in asked.pictures] == [(label, 0.35)]
    assert asked.picture_adapter == "pictures/ip"
    act(how="remove")
    session.describe({"regions": [{"label": label, "prompt": "a fox"}]})
    assert build_request(session, edit, masked=False).picture_adapter == ""


def test_a_picture_that_is_gone_is_said_and_the_page_stays(act, toy):
    act(how="file", path=toy)
    Path(picture_of(act.session)).unlink()
    answer = act(how="open")[0]
    assert answer.cutting is None
    assert answer.alarm
    assert "picture" in answer.note.lower()
    assert not answer.gone
    assert "No region is selected" in act(how="open", label=None)[0].note

"""Motion on demand: a pair of the page's frames, and one line where there is none."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from regrain.editing import ArrayClip, EditRequest, ResourceError
from regrain.ui.handlers.base import BROKEN
from regrain.ui.handlers.motion import Motions
from regrain.ui.session.clips import prepare

ASKED = {"id": "", "have": 0, "nonce": 7, "frame": 0}


@pytest.fixture
def visits(visits_of, tmp_path):
    frames = np.zeros((3, 40, 60, 3), np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    return visits_of(
        prepare("", "clip", EditRequest(ArrayClip(frames), None, ()), tmp_path / "clip")
    )


def drawn(cut=False):
    picture = np.full((40, 60, 3), 9, np.uint8)
    return SimpleNamespace(
        flow=picture, wheel=picture[:, :40], reach=4.4, hidden=picture, appeared=picture,
        hidden_share=0.12, appeared_share=0.0, cut=cut,
    )  # fmt: skip


def test_a_frame_and_the_next_are_drawn(visits):
    seen = []
    motions = Motions(visits, lambda a, b: seen.append((int(a.max()), int(b.max()))) or drawn())
    shown = motions.look("page", ASKED | {"frame": 1})
    assert seen == [(1, 2)]
    assert (shown["frame"], shown["nonce"], shown["id"]) == (1, 7, "")
    texts = ["Motion from frame 2 to 3", "Frame 2: 12 % is hidden in frame 3"]
    texts += ["Frame 3: nothing is new since frame 2"]
    assert [picture["text"] for picture in shown["pictures"]] == texts
    assert shown["reach"] == "4 px"
    assert all(picture["url"].startswith("data:image/jpeg") for picture in shown["pictures"])
    orjson.dumps(shown)
    for cut in (False, True):
        shown = Motions(visits, lambda *_, cut=cut: drawn(cut)).look("page", ASKED)
        assert ("a cut" in shown["note"]) is cut


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (2, "The last frame has no next one."),
        (3, "Frame: 3 is outside"),
        (None, "Frame: None is outside"),
    ],
)
def test_where_there_is_no_pair_it_says_so(visits, frame, said):
    shown = Motions(visits, lambda *_: pytest.fail("it was drawn")).look(
        "page", ASKED | {"frame": frame}
    )
    assert shown["note"].startswith(said)
    assert "pictures" not in shown


FULL = ResourceError("params.flow", "Out of memory. Use flow=dis.")


@pytest.mark.parametrize(("error", "said"), [(FULL, "Flow: Out of memory."), (OSError(), BROKEN)])
def test_what_went_wrong_is_one_line(visits, error, said):
    def fail(*_):
        raise error

    shown = Motions(visits, fail).look("page", ASKED)
    assert shown["alarm"]
    assert shown["note"].startswith(said)


def test_nothing_is_said_of_a_clip_that_was_left(visits):
    visits.get("page").open(visits.get("page").opened, "second")
    motions = Motions(visits, lambda *_: pytest.fail("it was drawn"))
    assert motions.look("page", ASKED) is None
    assert "Reload" in motions.look("page", ASKED | {"id": "other"})["note"]


def test_the_page_stays_free_meanwhile(visits):
    session, free = visits.get("page"), []

    def draw(*_):
        with ThreadPoolExecutor(1) as pool:
            free.append(pool.submit(session.lock.acquire, timeout=5).result())
        return drawn()

    assert "pictures" in Motions(visits, draw).look("page", ASKED)
    assert free == [True]

"""What opening a clip and choosing a preset fill in, without a browser."""

from types import SimpleNamespace

import pytest

from regrain.editing.storage.local_models import ASSETS
from regrain.ui.handlers.clip_handlers import ClipHandlers
from regrain.ui.work.catalogue import Catalogue


@pytest.fixture
def handlers(open_clip, visits_of):
    """Handlers of a page that shows a clip."""
    catalogue = Catalogue({}, ASSETS / "storybook")
    visits = visits_of(open_clip("first"))
    return ClipHandlers(catalogue, visits, visits.media, None, None)


@pytest.mark.parametrize("model", [None, "", "storybook"])
def test_a_clip_begins_in_the_usual_way_of_the_model(
    handlers, model, open_clip, monkeypatch
):
    session = handlers.visits.get("page")
    asked = {"method": "infedit", "loras": ("storybook/fast",), "params": {"hold": 0.5}}
    session.open(open_clip("own", **asked), "own")
    shown = handlers.opened(session, "", model)
    assert (session.method, shown["added"]) == ("infedit", ["storybook/fast"])
    assert shown["settings"].given == {"infedit": {"hold": 0.5}}
    assert shown["settings"].usual["guidance_scale"] == 1.0  # of the LoRA


def test_a_preset_shows_what_it_sets_and_marks_stay(handlers):
    handlers.visits.get("page").method = "fatezero"
    page = SimpleNamespace(session_hash="page")
    said = {"given": {"fatezero": {"cuts": "3", "steps": 4}}}
    levels = {}
    for preset in ("released", "paper"):
        event = SimpleNamespace(_data={"preset": preset})
        answer = handlers.choose_preset(event, page, "storybook", [], said)
        shown = answer["settings"]
        assert shown.given["fatezero"] == {"preset": preset, "cuts": "3"}
        levels[preset] = shown.usual["keys_levels"]
    assert levels["released"] == "coarse"
    assert levels["paper"] != "coarse"
    event = SimpleNamespace(_data={"preset": "none"})
    answer = handlers.choose_preset(event, page, "storybook", [], said)
    assert "preset" in answer["progress"].field

"""What opening a clip and choosing a preset fill in, without a browser."""

from types import SimpleNamespace

import pytest

from regrain.editing.storage.local_models import ASSETS
from regrain.ui.handlers.clip_handlers import ClipHandlers
from regrain.ui.work.catalogue import Catalogue

OTHERS = ("_shown", "settings", "_notice", "_filled", "_shared")


@pytest.fixture
def handlers(open_clip, visits_of):
    """Handlers of a page that show a clip, of which only what is added is seen."""
    catalogue = Catalogue({}, ASSETS / "storybook")
    filled = SimpleNamespace(fill=lambda *told: {"filled": told})
    parts = SimpleNamespace(controls=filled)
    visits = visits_of(open_clip("first"))
    return ClipHandlers(catalogue, visits, visits.media, parts, None)


@pytest.mark.parametrize("model", [None, "", "storybook"])
def test_a_clip_begins_in_the_usual_way_of_the_model(
    handlers, model, open_clip, monkeypatch
):
    for name in OTHERS:
        monkeypatch.setattr(ClipHandlers, name, lambda *_: {})
    added = []
    note_added = lambda _, names, model: added.extend(names) or {}  # noqa: E731
    monkeypatch.setattr(ClipHandlers, "added", note_added)
    session = handlers.visits.get("page")
    session.open(open_clip("own", method="infedit", loras=("storybook/fast",)), "own")
    handlers.opened(session, "", model)
    assert (session.method, added) == ("infedit", ["storybook/fast"])


def test_a_preset_fills_in_what_it_sets(handlers):
    choose = handlers.choose_preset("fatezero")
    levels = {}
    for preset in ("released", "paper"):
        method, values = choose(preset, "storybook")["filled"]
        assert (method, values["preset"]) == ("fatezero", preset)
        levels[preset] = values.get("keys_levels")
    assert levels["released"] == "coarse"
    assert levels["paper"] != "coarse"

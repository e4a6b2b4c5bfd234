"""What opening a clip and choosing a preset fill in, without a browser."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from regrain.editing.pipeline.beforehand import PlannedTuning
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.handlers.check_handlers import CheckHandlers
from regrain.ui.handlers.clip_handlers import ClipHandlers
from regrain.ui.handlers.tuning_handlers import TuningHandlers
from regrain.ui.values.fields import Fields
from regrain.ui.work.catalogue import Catalogue
from regrain.ui.work.last_runs import LastRuns


@pytest.fixture
def handlers(open_clip, visits_of):
    """Handlers of a page that shows a clip."""
    catalogue = Catalogue({}, ASSETS / "storybook")
    visits = visits_of(open_clip("first"))
    return ClipHandlers(catalogue, visits, visits.media, None, None)


def test_the_model_is_the_clips_and_new_videos_have_the_one_chosen_last(
    handlers, open_clip, monkeypatch, tmp_path
):
    mine = "mine.safetensors"
    save_file({"a": torch.zeros(2)}, tmp_path / mine)
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    session = handlers.visits.get("page")
    video = replace(open_clip("walk"), name="", file=Path("walk.mp4"))

    def model_of(clip, identity, fields=None):
        session.open(clip, identity)
        session.fields = fields
        shown = handlers.opened(session, "")
        assert session.filled == shown["model"]
        return shown["model"]

    session.chosen_model = mine
    assert model_of(open_clip("example"), "1") == "storybook"
    assert model_of(video, "2") == mine
    assert model_of(video, "3", Fields("gone")) == "gone"
    session.chosen_model = "gone"
    assert model_of(video, "4") == "storybook"


def test_fields_of_a_clip_that_the_page_has_left_are_not_the_next_ones(
    handlers, open_clip
):
    page = SimpleNamespace(session_hash="page")
    session = handlers.visits.get("page")
    shared = (handlers.catalogue, handlers.visits, handlers.media, None)
    checking = CheckHandlers(*shared, LastRuns())
    left = {"id": session.id, "have": session.rev}
    session.open(open_clip("next"), "next")
    checking.look(page, left, "storybook", [], {"seed": 5})
    assert session.fields is None
    checking.look(page, {"id": "next", "have": 0}, "storybook", [], {"seed": 5})
    assert session.fields.seed == 5


def test_key_frames_and_cuts_are_told_anew_and_all_else_stays():
    said = Fields(given={"sdedit": {"steps": 9, "cuts": "4", "keyframes": "0, 8"}})
    others = {"steps": 3, "cuts": "2"}
    assert said.on_clip("sdedit", others).given == {"sdedit": {"steps": 9, "cuts": "2"}}


def test_what_is_tuned_is_the_model_with_what_is_added(handlers, tmp_path, monkeypatch):
    (tmp_path / "loras").mkdir()
    save_file({"a": torch.zeros(2)}, tmp_path / "loras" / "ink.safetensors")
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    handlers.visits.get("page").method = "tune_a_video"
    asked = []

    def plan(request, params):
        asked.append(request.loras)
        return PlannedTuning(params.tune_steps)

    shared = (handlers.catalogue, handlers.visits, handlers.media, None)
    page = SimpleNamespace(session_hash="page")
    TuningHandlers(*shared, plan).look(page, "storybook", ["loras/ink"], {})
    assert asked == [("loras/ink",)]

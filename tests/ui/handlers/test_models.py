"""Models on the page: LoRA files with weights, the hub with and without network,
qualities."""

from contextlib import nullcontext
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from regrain.editing.errors import ModelError, RequestError
from regrain.editing.models.files import hub
from regrain.editing.params.base import QUALITIES
from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit import Edit
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.handlers import model_handlers
from regrain.ui.handlers.check_handlers import CheckHandlers, choices
from regrain.ui.handlers.clip_handlers import SettingHandlers
from regrain.ui.handlers.model_handlers import ModelHandlers
from regrain.ui.values.offered_models import OFFERED
from regrain.ui.views import checks
from regrain.ui.views.model_views import addons_view, hub_view
from regrain.ui.views.shown import AddonsView, Weighted
from regrain.ui.work.catalogue import Catalogue

FILES = {
    "unet/diffusion_pytorch_model.safetensors": 3_000_000_000,
    "unet/config.json": 500,
    "unet/x.bin": 9,
}


def fields_of(added, prediction=""):
    return {"model": "m", "added": added, "seed": 0, "prediction": prediction}


def info(files):
    siblings = [
        SimpleNamespace(rfilename=name, size=size) for name, size in files.items()
    ]
    return SimpleNamespace(
        siblings=siblings, card_data=None, tags=["license:mit"], gated=False
    )


@pytest.fixture
def listed(monkeypatch):
    """Makes the hub list these files; at first, a model's."""

    def show(files):
        monkeypatch.setattr(
            huggingface_hub.HfApi, "model_info", lambda self, id, **_: info(files)
        )

    show(FILES)
    return show


def test_a_listing_counts_what_would_be_fetched(listed):
    found = hub.describe("owner/name")
    assert (found.size, found.licence) == (3_000_000_500, "mit")
    assert "unet/x.bin" not in found.files
    listed(
        FILES
        | {
            f"text_encoder_2/model.{end}": 40
            for end in ("safetensors", "fp16.safetensors")
        }
    )
    assert hub.describe("owner/xl").size == found.size + 40
    listed({"unet/diffusion_pytorch_model.bin": 9})
    with pytest.raises(
        ModelError, match="has no UNet in safetensors, and no transformer"
    ):
        hub.describe("owner/name")


def test_without_network_the_error_says_so():
    # tests are offline
    with pytest.raises(ModelError, match="the hub cannot be reached"):
        hub.describe("owner/name")


def test_a_space_fetches_only_what_is_allowed(listed, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "owner/space")
    assert hub.allowed() == ()
    assert hub_view(hub) is None
    monkeypatch.setenv("REGRAIN_ALLOWED_MODELS", "owner/name, owner/two")
    assert hub_view(hub).fixed
    assert hub.describe("owner/name").licence == "mit"
    with pytest.raises(ModelError, match="may not be fetched here"):
        hub.describe("owner/other")


def test_loras_have_weights():
    chosen = [Weighted("loras/ink", 0.5)]
    known = SimpleNamespace(
        loras=["loras/ink"],
        motions=["motion/lcm"],
        pictures=["pictures/plus"],
        readers=["readers/clip"],
    )
    shown = addons_view(known, ("loras/ink@0.5", "@0.5"))
    assert shown == AddonsView(**vars(known), chosen=chosen)


def test_choosing_a_lora_shows_the_settings_that_suit_the_model_with_it(
    tmp_path, monkeypatch
):
    """Those of few-step files are proposed; without the file they are the model's
    again, and nothing else is touched."""
    (tmp_path / "loras").mkdir()
    for name in ("ink", "lcm-lora-sdv1-5", "turbo_granny"):
        path = tmp_path / "loras" / f"{name}.safetensors"
        save_file({"unet.x.lora_A.weight": torch.zeros(1, 1)}, path)
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    catalogue = Catalogue({}, ASSETS / "storybook")
    filled = []
    controls = SimpleNamespace(fill=lambda *one: filled.append(one) or {})
    parts = SimpleNamespace(added="added", controls=controls)
    handlers = ModelHandlers(catalogue, None, None, parts, hub)
    session = SimpleNamespace(method="sdedit")
    monkeypatch.setattr(ModelHandlers, "session", lambda *_: session)

    def choose(before, *names):
        added = [{"name": f"loras/{name}", "weight": 1} for name in names]
        event = SimpleNamespace(_data={"added": [*added, "x"]})
        return handlers.add(before, "storybook", event, None)["added"]

    assert choose([], "ink") == ["loras/ink@1"]
    assert choose(["loras/ink@1"], "lcm-lora-sdv1-5") == ["loras/lcm-lora-sdv1-5@1"]
    assert choose(["loras/lcm-lora-sdv1-5@1"]) == []
    few = {"steps": 4, "guidance_scale": 1.0, "sampler": "lcm"}
    usual = {"steps": 20, "guidance_scale": 4.0, "sampler": "ddim"}
    assert filled == [("sdedit", {}), ("sdedit", few), ("sdedit", usual)]

    # What a word alone says is a hint at the model, and fills in nothing.
    assert choose([], "turbo_granny") == ["loras/turbo_granny@1"]
    assert filled[-1] == ("sdedit", {})
    page = SimpleNamespace(lock=nullcontext())
    asked = Edit(method="sdedit", loras=("loras/turbo_granny@1", "elsewhere/turbo"))
    monkeypatch.setattr(CheckHandlers, "described", lambda *_: page)
    monkeypatch.setattr(CheckHandlers, "asked", lambda *_: asked)
    given = []
    monkeypatch.setattr(checks, "check", lambda *all: given.append(all[-1]) or [])
    parts = SimpleNamespace(named=lambda _: {})
    CheckHandlers(catalogue, None, None, parts, None)._check(None, None, ())
    ((hint,),) = given
    assert "The name 'turbo_granny' says Turbo" in hint


def test_a_motion_adapter_is_told_from_lora_files(monkeypatch):
    known = SimpleNamespace(
        motions=["motion/lcm"],
        pictures=["pictures/ip", "pictures/xl"],
        readers=["readers/clip"],
        model=str,
    )
    known.seeing = lambda model, method, chosen="": (
        chosen or {"m": "pictures/ip"}[model]
    )
    handlers = ModelHandlers(known, None, None, None, hub)
    base = SimpleNamespace(asked=Edit(loras=("a",), motion="own@1", reader="seer"))
    opened = SimpleNamespace(request=base)
    session = SimpleNamespace(opened=opened, method="sdedit", focus="each")
    known.loras_of = lambda names: []
    known.is_silent = lambda model: False
    monkeypatch.setattr(ModelHandlers, "given_params", lambda *_: {})
    for given, loras, motion, seeing, reader in (
        (None, ("a",), "own@1", "pictures/ip", "seer"),
        ([], (), "", "pictures/ip", ""),
        (["a", "own@1", "seer@1"], ("a",), "own@1", "pictures/ip", "seer"),
        (
            ["loras/ink@1", "motion/lcm@0.5"],
            ("loras/ink@1",),
            "motion/lcm@0.5",
            "pictures/ip",
            "",
        ),
        (
            ["a@1", "pictures/xl@1", "readers/clip@1"],
            ("a@1",),
            "",
            "pictures/xl",
            "readers/clip",
        ),
    ):
        asked = handlers.asked(session, fields_of(given))
        assert asked.focus == "each"
        assert (asked.loras, asked.motion, asked.picture_adapter) == (
            loras,
            motion,
            seeing,
        )
        assert asked.reader == reader


def test_all_that_a_request_adds_is_in_its_field(monkeypatch):
    known = SimpleNamespace(loras=[], motions=[], pictures=[], readers=["readers/clip"])
    handlers = ModelHandlers(known, None, None, None, hub)
    monkeypatch.setattr(ModelHandlers, "method", lambda *_: {})
    monkeypatch.setattr(ModelHandlers, "prediction", lambda *_: None)
    more = {"motion": "m@1", "picture_adapter": "p", "reader": "readers/clip"}
    shown = handlers.settings(Edit(method="sdedit", loras=("a",), **more))
    assert shown["added"] == ["a", "m@1", "p", "readers/clip"]
    assert shown["addons"].readers == ["readers/clip"]


@pytest.mark.parametrize("is_silent", [True, False])
def test_what_a_model_predicts_is_asked_of_a_silent_one_alone(is_silent, monkeypatch):
    known = SimpleNamespace(
        motions=[],
        pictures=[],
        readers=[],
        model=str,
        seeing=lambda *_: "",
        loras_of=lambda _: [],
        is_silent=lambda _: is_silent,
    )
    handlers = ModelHandlers(known, None, None, None, hub)
    # that of the project is of its own model
    base = SimpleNamespace(asked=Edit(prediction="sample"))
    session = SimpleNamespace(
        opened=SimpleNamespace(request=base), method="sdedit", focus="off"
    )
    monkeypatch.setattr(ModelHandlers, "given_params", lambda *_: {})
    for given in ("v_prediction", "", None, "w"):
        asked = handlers.asked(session, fields_of([], given))
        assert asked.prediction == (given or "" if is_silent else "")


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("motions", hub.MOTION),
        ("pictures", f"{hub.PICTURES} for SDXL"),
        ("readers", hub.READER),
    ],
)
def test_an_adapter_of_the_hub_is_added_in_place_of_another(kind, family, monkeypatch):
    catalogue = SimpleNamespace(
        loras=[],
        **{"motions": [], "pictures": [], "readers": []} | {kind: ["motion/lcm"]},
    )
    catalogue.add = lambda kind, id: getattr(catalogue, kind).append(id)
    monkeypatch.setattr(ModelHandlers, "session", lambda self, request: None)
    monkeypatch.setattr(
        ModelHandlers, "cards", lambda self, session, model: {"cards": model}
    )
    there = SimpleNamespace(
        describe=lambda id: hub.Listing(id, "", {}, family),
        fetch=lambda _: (step for step in ()),
        allowed=lambda: None,
    )
    parts = SimpleNamespace(hub="hub", added="added", addons="addons")
    handlers = ModelHandlers(catalogue, None, None, parts, there)
    asked = (
        SimpleNamespace(_data={"id": "owner/moves"}),
        SimpleNamespace(session_hash="page"),
    )
    (*_, last) = handlers.fetch(["loras/ink@1", "motion/lcm@0.5"], "storybook", *asked)
    assert last.get("cards") == (
        "storybook" if kind == "pictures" else None
    )  # which ask for pictures
    assert last["added"] == ["loras/ink@1", "owner/moves@1"]
    assert getattr(last["addons"], kind) == ["motion/lcm", "owner/moves"]
    assert last["hub"].state == "done"


@pytest.mark.parametrize("method", METHODS)
def test_a_better_quality_does_more(method):
    params = METHODS[method].Params
    usual = params().model_dump()
    counts = [params.scaled(usual, name) for name in QUALITIES]
    assert counts[1] == {name: usual[name] for name in params.SCALED}
    assert all(
        low[name] < mid[name] < high[name]
        for low, mid, high in [counts]
        for name in params.SCALED
    )
    for changed in counts:
        params.model_validate(changed)


def test_the_quality_is_the_one_whose_counts_are_set():
    usual = {"steps": 20}
    assert choices("videograin", usual, {"steps": 20}).chosen == "standard"
    assert choices("videograin", usual, {"steps": 21}).chosen == ""
    shown = choices("videograin", usual, {"steps": 8})
    assert shown.chosen == "draft"
    details = [f"{steps} steps" for steps in (8, 20, 40)]
    assert [one.detail for one in shown.qualities] == details


def test_models_at_paths_are_told_of_on_ones_own_machine_alone(
    tiny_folder, tmp_path, monkeypatch
):
    for name in ("SPACE_ID", "GRADIO_SERVER_NAME", "GRADIO_SHARE"):
        monkeypatch.delenv(name, raising=False)
    is_there = model_handlers._is_model_at
    assert is_there(str(tiny_folder))
    assert not is_there(str(tmp_path))
    monkeypatch.chdir(tiny_folder.parent)
    assert not is_there(tiny_folder.name)
    monkeypatch.setenv("SPACE_ID", "somebody/space")
    assert not is_there(str(tiny_folder))


@pytest.mark.parametrize("is_there", [True, False])
def test_nothing_is_asked_of_a_hub_that_does_not_answer(is_there, monkeypatch):
    """Published models are told of first, with what they take."""
    asked = []

    def search(words):
        asked.append(words)
        return [hub.Listing("owner/model", "", {"x": 2_000_000_000}, "SDXL")]

    there = SimpleNamespace(
        allowed=lambda: None, reachable=lambda: is_there, search=search
    )
    monkeypatch.setattr(ModelHandlers, "session", lambda *_: no_session())
    parts = SimpleNamespace(hub="hub")
    handlers = ModelHandlers(None, None, None, parts, there)
    event = SimpleNamespace(_data={"id": "fox"})
    first, last = (shown["hub"] for shown in handlers.ask(event, None))
    assert [one.licence for one in OFFERED.values()] == [
        offer.facts["Licence"] for offer in first.offers
    ]
    assert (first.online, last.online) == (None, is_there)
    assert asked == ["fox"] * is_there
    facts = [one.facts for one in last.hits]
    assert [said.endswith("licence unknown") for said in facts] == [True] * is_there
    assert ("cannot be reached" in last.text) != is_there


def no_session():
    raise RequestError("page", "It is closed.")


@pytest.mark.parametrize(
    ("space", "address"),
    [("a/b", "https://huggingface.co/spaces/a/b?duplicate=true"), ("", "")],
)
def test_a_space_is_duplicated_by_a_link(space, address, monkeypatch):
    monkeypatch.setenv("SPACE_ID", space)
    known = SimpleNamespace(models=["storybook"], lacks=lambda _: {})
    handlers = SettingHandlers(known, None, None, None)
    session = SimpleNamespace(method="infedit", opened=SimpleNamespace(drawn=False))
    assert handlers._notice(session, "storybook")["useless"].duplicate == address
    session.opened.drawn = True
    assert handlers._notice(session, "storybook")["useless"] is None

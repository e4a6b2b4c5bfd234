"""Models on the page: LoRA files with weights, those to fetch, qualities."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from regrain.editing.errors import ModelError, RequestError
from regrain.editing.params.base import QUALITIES
from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit import Edit
from regrain.editing.storage import memory
from regrain.editing.storage.fetching import Fetched
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.handlers import model_handlers
from regrain.ui.handlers.check_handlers import CheckHandlers
from regrain.ui.handlers.clip_handlers import ClipHandlers
from regrain.ui.handlers.model_handlers import ModelHandlers, offer
from regrain.ui.values.fields import Fields
from regrain.ui.values.known_models import KNOWN
from regrain.ui.views import before_run, checks, model_views
from regrain.ui.views.model_views import addons_view, hub_view
from regrain.ui.views.shown import AddonsView, Weighted
from regrain.ui.work.catalogue import Catalogue


def fields_of(added, prediction=""):
    return Fields("m", added, 0, prediction)


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
    tmp_path, monkeypatch, own_models
):
    """Those of few-step files are proposed; without the file they are the model's
    again, and nothing else is touched."""
    (tmp_path / "loras").mkdir()
    plain = "unet.x.lora_A.weight"
    of_text = (
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight"
    )
    for name, key in (("ink", plain), ("lcm-lora-sdv1-5", plain), ("sd15", of_text)):
        path = tmp_path / "loras" / f"{name}.safetensors"
        save_file({key: torch.zeros(1, 768 if key == of_text else 1)}, path)
    catalogue = Catalogue({}, ASSETS / "storybook")
    handlers = ModelHandlers(catalogue, None, None, None, None)
    session = SimpleNamespace(method="sdedit")
    monkeypatch.setattr(ModelHandlers, "session", lambda *_: session)

    said = {"given": {"sdedit": {"steps": 9, "strength": 0.4}}}

    def choose(before, *names):
        added = [{"name": f"loras/{name}", "weight": 1} for name in names]
        event = SimpleNamespace(_data={"added": [*added, "x"]})
        return handlers.add(event, None, "storybook", before, said)

    few = {"steps": 4, "guidance_scale": 1.0, "sampler": "lcm"}
    usual = {"steps": 20, "guidance_scale": 4.0, "sampler": "ddim"}
    fast = ["loras/lcm-lora-sdv1-5@1"]
    for before, names, added, values, steps in (
        ([], ("ink",), ["loras/ink@1"], usual, 9),
        (["loras/ink@1"], ("lcm-lora-sdv1-5",), fast, few, None),
        (fast, (), [], usual, None),
    ):
        changed = choose(before, *names)
        assert changed["added"] == added
        shown = changed["settings"]
        assert {name: shown.usual[name] for name in values} == values
        assert shown.given["sdedit"].get("steps") == steps
        assert shown.given["sdedit"]["strength"] == 0.4
    # What reads another text is not taken, however it comes.
    refused = choose(fast, "lcm-lora-sdv1-5", "sd15")
    assert refused["added"] == fast
    assert "768 wide; that of 'storybook' is 128" in refused["progress"].text
    dropped = handlers.use(
        *asked_for("loras/sd15.safetensors"), "storybook", fast, said
    )
    assert dropped["hub"].state == "error"
    assert "768 wide" in dropped["hub"].text


def test_what_the_name_of_a_lora_that_is_here_says_is_hinted_at(
    tmp_path, monkeypatch, own_models
):
    (tmp_path / "loras").mkdir()
    file = tmp_path / "loras" / "turbo_granny.safetensors"
    save_file({"unet.x.lora_A.weight": torch.zeros(1, 1)}, file)
    page = SimpleNamespace(lock=nullcontext())
    asked = Edit(method="sdedit", loras=("loras/turbo_granny@1", "elsewhere/turbo"))
    monkeypatch.setattr(CheckHandlers, "described", lambda *_: page)
    monkeypatch.setattr(CheckHandlers, "asked", lambda *_: asked)
    monkeypatch.setattr(checks, "check", lambda *given: given)
    handlers = CheckHandlers(Catalogue({}, ASSETS / "storybook"), *[None] * 4)
    _, (*_, (hint,)) = handlers._check(None, None, ("storybook", [], {}))
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
    handlers = ModelHandlers(known, None, None, None, None)
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


def test_all_that_a_request_adds_is_in_its_field():
    known = SimpleNamespace(loras=[], motions=[], pictures=[], readers=["readers/clip"])
    handlers = ModelHandlers(known, None, None, None, None)
    more = {"motion": "m@1", "picture_adapter": "p", "reader": "readers/clip"}
    shown = handlers.added(Edit(method="sdedit", loras=("a",), **more).added)
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
    handlers = ModelHandlers(known, None, None, None, None)
    # that of the project is of its own model
    base = SimpleNamespace(asked=Edit(prediction="sample"))
    session = SimpleNamespace(
        opened=SimpleNamespace(request=base), method="sdedit", focus="off"
    )
    monkeypatch.setattr(ModelHandlers, "given_params", lambda *_: {})
    for given in ("v_prediction", "", None, "w"):
        asked = handlers.asked(session, fields_of([], given))
        assert asked.prediction == (given or "" if is_silent else "")


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


def handlers_of(catalogue, get=None):
    parts = SimpleNamespace(added="added", addons="addons")
    visits = SimpleNamespace(keep=lambda page: None)
    return ModelHandlers(catalogue, visits, None, parts, get)


def asked_for(id):
    return SimpleNamespace(_data={"id": id}), SimpleNamespace(session_hash="page")


def test_a_model_is_fetched_with_progress_and_chosen():
    got = []

    def get(id):
        got.append(id)
        yield from (Fetched(0, 2_000_000_000), Fetched(1_000_000_000, 2_000_000_000))

    known = SimpleNamespace(model_choices=[("a", "a")])
    first, *steps, last = handlers_of(known, get).fetch(*asked_for(" owner/name "))
    assert got == ["owner/name"]
    assert (first["hub"].state, first["hub"].text) == ("fetching", "Asking the hub.")
    assert [one["hub"].share for one in steps] == [0, 0.5]
    assert steps[-1]["hub"].text == "1.0 GB of 2.0 GB"
    assert (last["hub"].state, last["hub"].id) == ("done", "owner/name")
    assert (last["model"]["value"], last["model"]["choices"]) == (
        "owner/name",
        [("a", "a")],
    )


def test_a_fetch_that_is_stopped_or_fails_chooses_nothing():
    ended = []

    def get(id):
        try:
            yield from [Fetched(1_000_000_000, 2_000_000_000)] * 9
        finally:
            ended.append(id)

    handlers = handlers_of(None, get)
    event, request = asked_for("owner/name")
    steps = handlers.fetch(event, request)
    for _ in range(2):
        next(steps)
    handlers.stop(request)
    (stopped,) = steps
    assert (
        stopped["hub"].text == "Stopped at 1.0 GB of 2.0 GB. Complete files are kept."
    )
    assert "model" not in stopped
    assert ended == ["owner/name"]

    def refuse(id):
        raise ModelError("model", "It is away.")

    *_, failed = handlers_of(None, refuse).fetch(event, request)
    assert (failed["hub"].state, failed["hub"].text) == ("error", "It is away.")


def test_what_was_put_into_the_folder_is_used_by_its_kind(monkeypatch):
    chosen = []
    known = SimpleNamespace(
        models=["mine.safetensors"],
        model_choices=[],
        loras=["loras/ink"],
        motions=[],
        pictures=[],
        readers=[],
        adapters={},
        model=str,
        check_lora=lambda *_: None,
    )
    adapters = SimpleNamespace(choose=lambda key, _: chosen.append(key))
    session = SimpleNamespace(adapters=adapters)
    monkeypatch.setattr(ModelHandlers, "session", lambda *_: session)
    monkeypatch.setattr(ModelHandlers, "tuned_models", lambda *_: "shown")
    handlers = handlers_of(known)

    def use(name):
        added = ["loras/ink@0.5", "loras/oil@1"]
        return handlers.use(*asked_for(name), "mine.safetensors", added, {})

    assert use("mine.safetensors")["model"]["value"] == "mine.safetensors"
    assert use("loras/ink.safetensors")["added"] == ["loras/oil@1", "loras/ink@1"]
    assert use("tuned.safetensors")["adapters"] == "shown"
    assert chosen == ["server-tuned"]
    monkeypatch.setattr(ModelHandlers, "session", lambda *_: no_session())
    assert use("gone.safetensors")["hub"].state == "error"


def test_sizes_of_published_models_that_were_counted_are_the_least(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    for row, known in zip(hub_view().models, KNOWN, strict=True):
        assert ("at least" in row.size) == known.counted


@pytest.mark.parametrize(
    ("device", "gib", "said"),
    [
        ("cpu", 40, "about 59 frames fit; minutes a clip"),
        ("cpu", 2, "does not fit"),
        ("cuda", 12, "about 32 frames fit; seconds a clip"),
    ],
)
def test_a_model_to_fetch_says_whether_it_fits_and_how_long_it_takes(
    monkeypatch, device, gib, said
):
    for module in (model_views, memory):
        monkeypatch.setattr(module, "choose_device", lambda: torch.device(device))
        monkeypatch.setattr(module, "free_memory", lambda _: gib * 2**30)
    monkeypatch.setattr(before_run, "on_gpu", lambda: device == "cuda")
    monkeypatch.setattr(model_views, "device_name", lambda _: "A card")
    shown = hub_view()
    assert shown.here.startswith(f"This machine: A card, {gib * 2**30 / 1e9:.1f} GB")
    lcm = next(row for row in shown.models if row.title == "LCM Dreamshaper")
    assert lcm.here == said


def test_a_space_offers_only_what_is_allowed(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "owner/space")
    assert hub_view() is None
    monkeypatch.setenv("REGRAIN_ALLOWED_MODELS", f"owner/name, {KNOWN[2].id}")
    assert [one.id for one in hub_view().models] == ["owner/name", KNOWN[2].id]


def no_session():
    raise RequestError("page", "It is closed.")


@pytest.mark.parametrize(
    ("space", "address"),
    [("a/b", "https://huggingface.co/spaces/a/b?duplicate=true"), ("", "")],
)
def test_a_space_is_duplicated_by_a_link(space, address, monkeypatch):
    monkeypatch.setenv("SPACE_ID", space)
    known = SimpleNamespace(is_usable=lambda _: True, lacks=lambda _: {})
    handlers = ClipHandlers(known, None, None, None, None)
    session = SimpleNamespace(method="infedit", opened=SimpleNamespace(drawn=False))
    assert handlers._notice(session, "storybook")["useless"].duplicate == address
    session.opened.drawn = True
    assert handlers._notice(session, "storybook")["useless"] is None


def test_without_a_folder_for_models_it_is_said_where_one_is_named(monkeypatch):
    monkeypatch.setattr(model_handlers, "finders", dict)
    monkeypatch.setattr(model_handlers, "models_folder", lambda: None)
    assert "REGRAIN_MODELS" in offer().note

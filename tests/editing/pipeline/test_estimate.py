"""What is said before a run, loading nothing: how long a tuning takes, whether an
adapter fits."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import BASES
from made_clips import black, noise
from made_models import loaded, write_small_model
from made_pictures import write_picture
from running import edit_clip, finish, note_calls
from torch.utils.flop_counter import FlopCounterMode
from wiring import FRAMES, requested

from regrain.editing import (
    Adapter,
    ArrayClip,
    EditRequest,
    ModelError,
    Tuned,
    load_backbone,
    save_adapter,
)
from regrain.editing.attention.frames import across_frames
from regrain.editing.params.base import MethodParams, Passes, Sampler
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.params.tune_a_video import TuneAVideoParams
from regrain.editing.params.written import parameter
from regrain.editing.pipeline import estimate, runner
from regrain.editing.pipeline.estimate import (
    check_known,
    counted,
    estimate_tuning,
    frame_passes,
    work,
)
from regrain.editing.storage import memory
from regrain.editing.storage.memory import Need, call_bytes, count_weights

PARAMS = TuneAVideoParams(tune_steps=4, tune_preview_every=2)
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def request_(small_folder):
    frames = noise(3, 16, 16, 3)
    clip = ArrayClip(frames, Fraction(8))
    return EditRequest(
        clip, None, (), "a cat", "a fox", method="tune_a_video", model=str(small_folder)
    )


@pytest.fixture
def one_second(monkeypatch):
    """Every call of a model is said to take a second; how many rows each was given."""
    calls = []

    def timed(backbone, frames, tries):
        calls.append(frames)
        return 1.0

    monkeypatch.setattr(estimate, "_seconds_of_call", timed)
    monkeypatch.setattr(estimate, "_seconds", {})
    return calls


def tune(request, steps):
    """The result of a tuning of so many steps."""
    given = {"tune_steps": steps, "tune_preview_every": 0}
    return [
        e for e in runner.tune(replace(request, params=given)) if isinstance(e, Tuned)
    ][-1].adapter


def test_before_the_model_is_loaded_only_the_steps_are_known(request_, monkeypatch):
    monkeypatch.setattr("regrain.editing.models.loading.load._loaded", {})
    assert estimate_tuning(request_, PARAMS) == estimate.Estimate(4)


def test_seconds_are_passes_of_a_frame(request_, one_second):
    backbone = load_backbone(request_.model)
    assert (
        estimate_tuning(request_, PARAMS, measure=False).seconds is None
    )  # while the model is busy
    assert one_second == []
    found = estimate_tuning(request_, PARAMS)
    # 4 steps, and previews at 0, 2 and 4 of 8 steps with both halves; 3 frames, a
    # second each.
    assert found.seconds == pytest.approx(3 * (4 * 3.3 + 3 * 16))
    assert (found.steps, found.taken) == (4, 0)
    assert len(one_second) == 1
    numbers = sum(np.prod(shape) for shape in backbone.tunable_shapes(0).values())
    assert found.memory == 16 * numbers + backbone.activation_bytes(3, 8, 8)
    estimate_tuning(request_, PARAMS)
    assert len(one_second) == 1, "a model is timed once"


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def model(request, small_folder, tmp_path_factory):
    """A small model of each kind."""
    if request.param == "sd":
        return small_folder
    return write_small_model(tmp_path_factory.mktemp("models") / "sdxl", sdxl=True)


def test_memory_is_counted_from_the_files_as_by_the_model(request_, model, monkeypatch):
    more = {
        "more_prompts": tuple("bcdefgh"),
        "clip": black(8, 16, 16),
    }
    asked = replace(request_, model=str(model), method="fatezero", size=64, **more)
    backbone = loaded(model)
    numbers = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in backbone.parts.items()
    }
    whole = 4 * sum(numbers.values())
    fewer = {"params": {"window": 3}}
    for changes, frames, rows in (
        ({}, 8, 18),
        (fewer, 3, 18),
        ({"more_prompts": ()}, 8, 4),
    ):
        most = max(
            call_bytes(rows * frames, 32 * 32, *backbone._finest),
            min(frames, 4) * 64 * 64 * 4096,
        )
        assert counted(replace(asked, **changes), 4) == (64, whole + most)
    most = max(call_bytes(18 * 8, 32 * 32, backbone._finest[0], 2), 4 * 64 * 64 * 4096)
    assert counted(asked, 2) == (64, whole // 2 + 2 * numbers["vae"] + most)
    monkeypatch.setattr(estimate, "autoencoder_bytes", lambda *_: 0)
    halves = replace(asked, method="fresco", more_prompts=())
    assert counted(halves, 4)[1] == whole + call_bytes(
        2 * 8, 32 * 32, *backbone._finest
    )
    assert counted(replace(asked, size=None))[0] == backbone.size
    assert counted(replace(asked, model="owner/name")) is None


def test_what_sees_pictures_counts_until_the_first_call(
    request_, tmp_path, monkeypatch
):
    """The encoder is as large as a call, or it does not show."""
    asked = replace(request_, method="sdedit", prompt="a fox")
    plain = counted(asked, 4)[1]
    picture = str(write_picture(tmp_path / "a.png"))
    seeing = replace(asked, picture=picture, picture_adapter="mine")
    for adapter, encoder in ((10, 1), (10, 10**9)):
        file = SimpleNamespace(weights=lambda pair=(adapter, encoder): pair)
        monkeypatch.setattr(estimate, "PictureFile", lambda *_, file=file, **__: file)
        weights = 4 * count_weights(Path(request_.model)) + 4 * adapter
        call = plain - (weights - 4 * adapter)
        assert counted(seeing, 4)[1] == weights + max(call, 4 * encoder)


def test_where_activations_do_not_fit_a_step_takes_one_more_pass(
    request_, one_second, monkeypatch
):
    backbone = load_backbone(request_.model)
    monkeypatch.setattr(type(backbone), "activations_fit", lambda *_: False)
    found = estimate_tuning(request_, replace_params(tune_preview_every=0))
    assert found.seconds == pytest.approx(3 * 4 * 4.3)
    assert found.memory is None


def replace_params(**changes):
    return PARAMS.model_copy(update=changes)


def test_cached_steps_are_not_taken_again(request_, one_second):
    tune(request_, 2)
    found = estimate_tuning(request_, PARAMS)
    assert (found.steps, found.taken) == (2, 2)
    assert found.seconds == pytest.approx(3 * (2 * 3.3 + 2 * 16))
    assert estimate_tuning(request_, replace_params(tune_steps=2)).steps == 0
    # Another tuning has none of them.
    assert estimate_tuning(request_, replace_params(learning_rate=1e-4)).steps == 4
    assert estimate_tuning(replace(request_, source_prompt="a dog"), PARAMS).steps == 4
    # The latest state is beyond what is to be learned, and no such version was kept.
    assert estimate_tuning(request_, replace_params(tune_steps=1)).taken == 0


def test_what_the_header_says_is_enough_to_refuse(request_, tmp_path):
    made = tune(request_, 1)

    def saved(**changes):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        save_adapter(Adapter(made.facts.model_copy(update=changes), made.weights), path)
        return replace(request_, adapter=str(path))

    check_known(saved())
    check_known(request_)
    unfit = {"sketch": (0.0,)}, "not on these weights"
    for changes, said in (
        ({"frames": 5}, "5 frames"),
        ({"width": 64}, "64 x 16"),
        unfit,
    ):
        with pytest.raises(ModelError, match=said):
            check_known(saved(**changes))
    check_known(replace(saved(frames=5), params={"start": "noise"}))


def test_averages_of_the_flow_are_passes_of_their_own(request_):
    asked = replace(request_, method="flow_regions", params={"averages": 1})
    one = estimate.frame_passes(asked)
    thrice = estimate.frame_passes(replace(asked, params={"averages": 3}))
    assert thrice == 3 * one > 0


def test_frames_that_look_at_each_other_are_more_work(request_):
    """As many rows, each of which sees more of the others."""
    asked = replace(request_, method="videograin", params={"window": 3})
    alone = work(replace(asked, params={"attention_span": "own_frame"}))
    some = work(replace(asked, params={"attention_span": "sparse_causal"}))
    every = work(replace(asked, params={"attention_span": "full"}))
    assert alone.editing < some.editing <= every.editing
    assert alone.inverting < every.inverting
    assert alone.around == every.around


def test_frames_of_a_video_model_share_latents(wan_folder, request_, monkeypatch):
    monkeypatch.setattr(estimate, "autoencoder_bytes", lambda *_: 0)
    monkeypatch.setattr(estimate, "call_bytes", lambda rows, *_: 1000 * rows)
    weights = estimate.count_weights(wan_folder / "transformer")
    weights += estimate.count_weights(wan_folder / "vae")
    for frames in (1, 5, 8, 9):
        clip = black(frames, 16, 16)
        asked = replace(
            request_, method="flow_regions", model=str(wan_folder), clip=clip
        )
        _, found = counted(asked, 4)
        assert found == 4 * weights + 1000 * (1 + frames // 4)


class MadeUpParams(MethodParams):
    """Of a method that draws a second picture of each frame, and inverts twice."""

    strength: float = parameter(0.5, "Strength", "No share of the schedule.")
    keys: str = parameter("alone", "Keys", "None of frames.")

    def passes(self, edits):
        return Passes(2.0 * self.steps, float(self.steps), 3 * edits, tuning=7.0)

    @property
    def together(self):
        return 2


def test_a_method_of_another_package_says_what_it_costs(request_, monkeypatch):
    """Its `strength` is not that of the schedule, nor its `keys` those of frames."""
    made = replace(METHODS["sdedit"], name="made_up", Params=MadeUpParams)
    monkeypatch.setitem(METHODS, "made_up", made)
    asked = replace(request_, method="made_up", params={"steps": 10})
    for edits, more in ((1, ()), (2, ("a dog",))):
        several = replace(asked, more_prompts=more)
        assert frame_passes(several, tuned=True) == 3 * (20 + 10 * 3 * edits)
        assert frame_passes(several) == 3 * (7 + 20 + 10 * 3 * edits)
        found = work(several)
        assert found.editing / found.inverting == pytest.approx(10 * 3 * edits / 20)
    alone = estimate._of_rows(asked, estimate._sizes(asked)[0])
    assert estimate.operations(asked) == pytest.approx((7 + 20 + 30) * alone)
    assert estimate._windows(asked) == [2, 1]


@pytest.fixture
def rows(fitting, monkeypatch):
    """The rows of each call of the network."""
    counted = []
    note_calls(monkeypatch, fitting, lambda x, *_: counted.append(len(x)))
    return counted


@pytest.mark.parametrize("method", METHODS)
def test_passes_are_the_rows_that_the_network_gets(fitting, method, rows):
    """As promises of time take them, but for what a method leaves out near an end."""
    given = BASES[method] | {"steps": 6, "preview_every": 0, "tune_steps": 0}
    fields = METHODS[method].Params.model_fields
    params = check_params(
        method, {name: value for name, value in given.items() if name in fields}
    )
    asked = replace(requested(method), params=params.model_dump())
    with torch.no_grad():
        for event in edit_clip(fitting, asked, params):
            if isinstance(event, Tuned):
                rows.clear()
    latents = 2 if fitting.frames_per_latent > 1 else FRAMES
    expected = frame_passes(asked, tuned=True) * latents / FRAMES
    assert 0.6 < expected / sum(rows) < 1.6, (expected, sum(rows))


WALKS = {
    "sdedit": [{"sampler": name} for name in Sampler.__args__],
    "fresco": [{"sampler": name, "optimise_until": 0.0} for name in ("ddim", "lcm")],
    "infedit": [{}, {"redraw": 0.5}, {"redraw": 0.9}],
    "flow_regions": [{}, {"averages": 2}],
}


@pytest.mark.parametrize("method", WALKS)
@pytest.mark.parametrize("strength", [1.0, 0.7, 0.1, 0.0])
def test_an_estimate_counts_the_rows_that_a_run_makes(fitting, method, strength, rows):
    """With every sampler, whatever the strength leaves of its steps."""
    latents = 2 if fitting.frames_per_latent > 1 else FRAMES
    for given in WALKS[method]:
        asked = {"steps": 4, "strength": strength, "preview_every": 0, **given}
        params = check_params(method, asked)
        rows.clear()
        finish(edit_clip(fitting, requested(method), params))
        passes = params.passes(1)
        assert sum(rows) == passes.editing * passes.rows * latents, given


def test_operations_of_attention_are_those_of_a_call(model):
    """What is counted where the frames see each other, over where they do not."""
    unet = loaded(model).unet
    frames, side = 3, 16
    given = {"added_cond_kwargs": SDXL_GIVEN} if model.name == "sdxl" else {}
    text = torch.randn(frames, 4, unet.config.cross_attention_dim)
    x = torch.randn(frames, 4, side, side)

    def counted_call(seen):
        def attend(q, k, v, site):
            if site.kind == "cross":
                return v.mean(2, keepdim=True).expand_as(q)
            return across_frames(q, k, v, frames, seen, written_out)

        with FlopCounterMode(display=False) as counter, torch.no_grad():
            asked = {"attend": attend}
            unet(x, 5, text, cross_attention_kwargs=asked, **given)
        return counter.get_total_flops()

    alone = torch.arange(frames)[:, None]
    more = counted_call("all") - counted_call(alone)
    asked = EditRequest(
        black(frames, 16, 16),
        None,
        (),
        "a cat",
        method="sdedit",
        model=str(model),
    )
    each = estimate._sizes(asked)[0].attention
    assert more == each * side**4 * frames * (frames - 1)


SDXL_GIVEN = {"text_embeds": torch.zeros(3, 24), "time_ids": torch.zeros(3, 6)}


def written_out(q, k, v):
    return (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v


def test_a_run_has_the_operations_of_all_its_calls(request_):
    asked = replace(request_, method="videograin", params={"steps": 5, "window": 0})
    sizes = estimate._sizes(asked)[0]
    cells = sizes.pixels // sizes.factor**2
    passes = frame_passes(asked)

    def of(**params):
        return estimate.operations(replace(asked, params=asked.params | params))

    alone = passes * 0.2 * sizes.numbers * cells
    assert of(attention_span="own_frame") == pytest.approx(alone)
    pairs = passes * sizes.attention * cells**2
    assert of(attention_span="sparse_causal") == pytest.approx(alone + pairs)
    assert of(attention_span="full") == pytest.approx(alone + 2 * pairs)
    assert of(steps=10) == 2 * of()
    tuned = replace(asked, method="tune_a_video", params={"tune_steps": 9})
    more = replace(tuned, params={"tune_steps": 19})
    assert estimate.operations(more) - estimate.operations(tuned) == pytest.approx(
        10 * 4.3 * 3 * 0.2 * sizes.numbers * cells
    )
    assert estimate.operations(replace(asked, model="owner/name")) is None


@pytest.mark.parametrize(
    ("device", "frames", "gib"),
    [("cpu", 1, 2 * (3 + 10)), ("cpu", 40, 2 * (3 + 20)), ("cuda", 1, 10)],
)
def test_what_reads_the_prompts_counts_where_it_is_the_largest(
    device, frames, gib, monkeypatch
):
    """On a graphics card it takes turns with the rest."""
    need = Need("a family", 480, 3.0, 0.5, reader=10.0)
    monkeypatch.setattr(memory, "choose_device", lambda: torch.device(device))
    assert need.memory(frames) == pytest.approx(gib * 2**30)
    monkeypatch.setattr(memory, "free_memory", lambda _: (gib - 1) * 2**30)
    assert (need.fits() == "does not fit") == (frames == 1)

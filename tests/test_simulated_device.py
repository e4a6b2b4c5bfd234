"""Edits on devices that are made of memory: no tensor is elsewhere, a device gives what
the CPU gives, and few steps wait for the device."""

from collections import OrderedDict
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from cases import BASES, CASES
from made_models import (
    smallest_model,
    write_control_net,
    write_small_model,
    write_wan,
)
from made_motion import write_adapter
from made_pictures import write_encoder, write_picture, write_picture_adapter
from running import finish
from safetensors.torch import save_file
from simulated_device import KINDS, SimulatedDevice
from wiring import requested

from regrain.editing import edit
from regrain.editing.models import turns
from regrain.editing.models.loading import build, load
from regrain.editing.models.streaming import Streamed
from regrain.editing.models.wan import load as wan_load
from regrain.editing.params.registry import METHODS
from regrain.editing.recipe.events import Finished, Progress

pytestmark = pytest.mark.full

# A device and the CPU round differently, and some methods amplify that: they are
# compared in float64, which one kind of device does not have.
PRECISE = {"cuda": torch.float64, "xpu": torch.float64, "mps": torch.float32}
STEPS = {"steps": 3, "preview_every": 0}
WAITS = 2  # for the device, at most, in a denoising step


@pytest.fixture(autouse=True)
def _alone(own_cache, monkeypatch):
    """Models on a device that was simulated are not kept for other tests."""
    monkeypatch.setattr(load, "_loaded", OrderedDict())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models, and what is added to one."""
    folder = tmp_path_factory.mktemp("models")
    write_wan(folder / "wan")
    write_wan(folder / "vace", vace=True)
    write_small_model(folder / "sdxl", sdxl=True)
    write_small_model(folder / "inpaints", beside="hole")
    write_small_model(folder / "seeing", beside="source")
    unet = load.load_backbone(str(write_small_model(folder / "small"))).unet
    write_control_net(folder / "net", unet, 0.05, (8, 8))
    write_adapter(folder / "motion" / "moving", unet, heads=2)
    write_encoder(folder / "pictures")
    write_picture_adapter(folder / "pictures" / "adapter.safetensors", unet, "plus")
    write_picture(folder / "toy.png", 4)
    drawn = torch.Generator().manual_seed(0)
    name = next(
        n for n, w in unet.named_parameters() if n.endswith("attn1.to_q.weight")
    )
    shape = unet.get_parameter(name).shape
    parts = {
        "lora_A": torch.randn(2, shape[1], generator=drawn),
        "lora_B": torch.randn(shape[0], 2, generator=drawn),
    }
    stem = name.removesuffix(".weight")
    tensors = {f"unet.{stem}.{part}.weight": x for part, x in parts.items()}
    save_file(tensors, folder / "ink.safetensors")
    return folder


@pytest.fixture
def asked(folder, monkeypatch):
    """A request of a method for the smallest model that it edits with."""
    monkeypatch.setenv("REGRAIN_MODELS", str(folder))

    def asked(method, frames=3, model="", prompt="", **given):
        model = model or smallest_model(method)
        request = requested(method, prompt=prompt, frames=frames)
        params = BASES[method] | STEPS | given
        return replace(request, params=params, model=str(folder / model))

    return asked


def frames_of(request, dtype, device=None, moved=False):
    """The edited frames, before the source is put back around them; and how often each
    denoising step waited for the device.

    `moved` moves each latent of the clip to the next number of its precision.
    """
    backbone = load.load_backbone(request.model, request.loras, dtype=dtype)
    encode = backbone.encode

    def encoded(frames):
        latents = encode(frames)
        if moved:
            return latents.nextafter(torch.full_like(latents, torch.inf))
        return latents.double() if dtype == torch.float64 else latents

    backbone.encode = encoded
    waits = []
    event = None
    for event in edit(request, backbone):
        if device and isinstance(event, Progress) and event.stage == "editing":
            waits.append(device.waits.total())
    assert isinstance(event, Finished)
    frames = np.asarray(event.result.uncomposited).astype(int)
    return frames, event.result, np.diff(waits)


def check_kind(kind, request, memory=1 << 34):
    """Check that a device edits as the CPU does."""
    precise = PRECISE[kind]
    expected, *_ = frames_of(request, precise)
    allowed = 2
    if precise == torch.float32:
        moved, *_ = frames_of(request, precise, moved=True)
        allowed = max(2, 3 * np.abs(moved - expected).max())
    load._loaded.clear()
    device = SimulatedDevice(kind, memory)
    with device.at():
        found, result, waits = frames_of(request, precise, device)
    # what hangs on masks and tracks was found in the first step
    assert len(waits) == 0 or max(waits[:2]) <= WAITS, device.waits
    assert device.waits.total() > 0
    assert np.abs(found - expected).max() <= allowed
    for maps in result.attention.values():
        assert np.isfinite(maps.after).all()
    load._loaded.clear()


@pytest.mark.parametrize(
    "kind", [pytest.param("cuda", marks=pytest.mark.processors), "mps"]
)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_edits_on_a_device_as_on_the_cpu(asked, kind, method):
    check_kind(kind, asked(method))


@pytest.mark.parametrize(
    ("method", "model"),
    [
        *((method, "") for method in METHODS),
        ("videograin", "sdxl"),
        ("sdedit", "inpaints"),
    ],
)
def test_every_method_edits_block_by_block_as_with_the_whole_model(
    asked, method, model, monkeypatch
):
    """Bit for bit, with at most two blocks on the device and one wait for each; nothing
    is left there."""
    request = asked(method, model=model)
    most = 0

    def brought(streamed, block):
        nonlocal most
        bring(streamed, block)
        most = max(most, len(streamed._there) + len(streamed._left))

    bring = Streamed._bring
    monkeypatch.setattr(Streamed, "_bring", brought)
    monkeypatch.setattr(turns, "streams", lambda *_: False)
    whole = SimulatedDevice("cuda")
    with whole.at():
        expected, result, before = frames_of(request, torch.float32, whole)
    load._loaded.clear()
    monkeypatch.setattr(turns, "streams", lambda *_: True)
    monkeypatch.setattr(build, "takes_turns", lambda *_: True)
    monkeypatch.setattr(wan_load, "takes_turns", lambda *_: True)
    device = SimulatedDevice("cuda")
    with device.at():
        found, other, waits = frames_of(request, torch.float32, device)
        (backbone,) = load._loaded.values()
        blocks = sum(len(one._groups) for one in backbone._streamed.values())
        for part in backbone.parts.values():
            assert all(x.device.type == "cpu" for x in part.state_dict().values())
    load._loaded.clear()
    assert most == 2
    assert np.array_equal(found, expected)
    for name, maps in result.attention.items():
        assert np.array_equal(maps.after, other.attention[name].after)
    assert (waits <= before + blocks).all()


@pytest.mark.parametrize(
    ("method", "name"),
    [(m, n) for m in CASES for n in ("preset", "control") if n in CASES[m].rows],
)
def test_presets_and_control_on_a_device(asked, method, name):
    row = CASES[method].row(name)
    given = {**row.beside, name: row.other}
    check_kind("cuda", asked(method, prompt=row.prompt, **given))


@pytest.mark.parametrize(
    ("model", "method"), [("sdxl", "videograin"), ("inpaints", "sdedit")]
)
def test_other_families_on_a_device(asked, model, method):
    check_kind("cuda", asked(method, model=model))


def windowed(asked, method):
    own = METHODS[method].Params.model_fields
    size = "window" if "window" in own else "frames_at_once"
    return asked(method, frames=5, **{size: 3, "cuts": "none"})


# What an edit may have beside its method.
MORE = {
    "windows": lambda asked, _: windowed(asked, "tune_a_video"),
    "windows of InfEdit": lambda asked, _: windowed(asked, "infedit"),
    "key frames": lambda asked, _: asked(
        "videograin", frames=5, keyframes="0, 4", steady=1.0
    ),
    "motion": lambda asked, folder: replace(
        asked("videograin"), motion=f"{folder / 'motion' / 'moving'}@0.8"
    ),
    "lora": lambda asked, folder: replace(
        asked("fatezero"), loras=(f"{folder / 'ink.safetensors'}@0.5",)
    ),
    "picture": lambda asked, folder: replace(
        asked("sdedit"),
        picture=str(folder / "toy.png"),
        picture_adapter=str(folder / "pictures" / "adapter.safetensors"),
    ),
    "several prompts": lambda asked, _: replace(
        asked("fatezero"), more_prompts=("a red fox on the grass",)
    ),
    "words": lambda asked, _: asked("vid2vid_zero", prompt="a red fox on the grass"),
}


@pytest.mark.parametrize("more", MORE)
def test_what_is_added_to_an_edit_works_on_a_device(asked, folder, more):
    check_kind("mps", MORE[more](asked, folder))


def test_parts_take_turns_where_the_memory_is_little(asked):
    kind = "xpu"
    request = asked("videograin")
    backbone = load.load_backbone(request.model, dtype=PRECISE[kind])
    sizes = [
        sum(weight.nbytes for weight in part.parameters())
        for part in backbone.parts.values()
    ]
    load._loaded.clear()
    device = SimulatedDevice(kind, memory=max(sizes) + (1 << 16))
    with device.at():
        assert load.load_backbone(request.model, dtype=PRECISE[kind]).takes_turns
    load._loaded.clear()
    check_kind(kind, request, device.memory)


def test_a_model_is_tuned_on_a_device_and_its_weights_are_used(
    asked, tmp_path, monkeypatch
):
    from regrain.editing import save_adapter
    from regrain.editing.pipeline.runner import tune
    from regrain.editing.recipe.events import Tuned

    tuning = asked("tune_a_video", tune_steps=2, tune_preview_every=1)

    def tuned(path):
        found = [one for one in tune(tuning) if isinstance(one, Tuned)][-1].adapter
        save_adapter(found, path)
        *_, finished = edit(replace(tuning, adapter=str(path)))
        return np.asarray(finished.result.uncomposited).astype(int), found.weights

    expected, weights = tuned(tmp_path / "one.safetensors")
    load._loaded.clear()
    with SimulatedDevice("cuda").at():
        # for whatever asks for the model, in whatever precision
        backbone = load.load_backbone(tuning.model, dtype=torch.float32)
        monkeypatch.setattr(load, "load_backbone", lambda *_, **__: backbone)
        found, learned = tuned(tmp_path / "other.safetensors")
    assert np.abs(found - expected).max() <= 1
    for name, weight in weights.items():
        torch.testing.assert_close(learned[name].cpu(), weight, atol=1e-3, rtol=1e-3)


def test_sam_and_raft_on_a_device(tmp_path, monkeypatch):
    from published_sam import write_sam2
    from torchvision.models.optical_flow import raft_small

    from regrain import masks
    from regrain.editing.motion import raft
    from regrain.editing.motion.flow import estimate_flow
    from regrain.masks.models import checkpoints, sam, sam2
    from regrain.masks.models.embedded import encoded_frames

    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    torch.manual_seed(0)
    save_file(
        raft_small(weights=None).state_dict(), tmp_path / "raft_small.safetensors"
    )
    write_sam2(tmp_path / "sam2.1-hiera-tiny")
    image, other = np.random.default_rng(0).integers(0, 255, (2, 60, 80, 3), np.uint8)

    loaded = (raft._load, sam._load, checkpoints._loaded, checkpoints._clicks_of)

    def found():
        for kept in loaded:
            kept.cache_clear()
        for finder in (sam, sam2):
            monkeypatch.setattr(finder, "_frames", encoded_frames())
        point = ([(30, 20)], [1])
        frame = masks.embed(image, "sam2.1-hiera-tiny")
        mask = masks.segment(frame, *point, method="sam2.1-hiera-tiny")
        return (
            mask,
            masks.segment(image, *point),
            estimate_flow(image[None], other[None]),
        )

    mask, built_in, flow = found()
    with SimulatedDevice("mps").at():
        mask_there, built_in_there, flow_there = found()
    for kept in loaded:
        kept.cache_clear()
    assert (mask != mask_there).mean() < 0.01
    assert np.array_equal(built_in, built_in_there)
    torch.testing.assert_close(flow_there, flow, atol=1e-3, rtol=1e-3)


def test_clusters_on_a_device(asked):
    from regrain.editing.methods.feature_clusters import find_clusters

    request = asked("tune_a_video")

    @cache
    def clusters(_):
        backbone = load.load_backbone(request.model, dtype=torch.float32)
        words = request.source_prompt
        return finish(find_clusters(backbone, request.clip, words, steps=2)).labels

    expected = np.asarray(clusters("cpu"))
    load._loaded.clear()
    with SimulatedDevice("xpu").at():
        there = np.asarray(clusters("xpu"))
    assert (expected != there).mean() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_told_apart_by_one_wait(asked, kind):
    model = asked("sdedit").model
    device = SimulatedDevice(kind)
    with device.at():
        backbone = load.load_backbone(model, dtype=torch.float32)
        device.waits.clear()
        assert backbone.fingerprint
        assert device.waits.total() == 1
        assert backbone.sketch
        assert device.waits.total() == 2


def test_xformers_masks_are_made_once_a_window(asked):
    """For the source, which is inverted, and for both halves of guidance."""
    device = SimulatedDevice("cuda")
    with device.at():
        frames_of(asked("videograin"), torch.float16)
    assert device.masks == 2


def test_a_run_as_the_page_makes_it(asked):
    from regrain.ui.server.run_queue import RunQueue
    from regrain.ui.server.worker import in_thread

    request = replace(asked("sdedit"), params=BASES["sdedit"] | {"preview_every": 1})
    with SimulatedDevice("mps").at():
        turn = RunQueue().enter_first()
        events = [one for one in in_thread(lambda: edit(request), turn) if one]
        backbone = load.loaded_backbone(request.model)
        assert backbone.device.type == "mps"
        assert backbone.dtype == torch.float16
    assert isinstance(events[-1], Finished)

"""InstructPix2Pix beside diffusers' two pipelines, on random weights; its regions and
prompts; models that see the source, and where they are refused."""

import shutil
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from json_files import read_json, write_json
from made_models import load_double, loaded, seeded, write_small_model
from PIL import Image
from pipelines import THEIRS, draws_from, in_double, scheduler_of, seeing_of
from running import finish
from safetensors.torch import load_file, save_file
from single_files import load_file_of, original_layout
from wiring import drive, requested

from regrain.editing import ArrayClip, EditRequest, ModelError, Region
from regrain.editing.methods.instruct_pix2pix import row_weights
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.pipeline.runner import edit

pytestmark = pytest.mark.usefixtures("own_cache")
HEIGHT = 16
WIDTH = 24
SHAPE = (1, 4, HEIGHT // 2, WIDTH // 2)
SCALES = [(7.5, 1.5), (7.5, 1.0), (1.0, 1.0)]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Folders of models that see the source, of Stable Diffusion and XL."""
    made = {}

    def folder(sdxl):
        if sdxl not in made:
            place = tmp_path_factory.mktemp("models") / "model"
            made[sdxl] = write_small_model(place, sdxl, beside="source")
        return made[sdxl]

    return folder


@pytest.fixture
def pair(folder_of, monkeypatch):
    """Makes a model and diffusers' pipeline of the same weights, both in double
    precision, with one autoencoder."""

    def made(sdxl):
        pipe = in_double(seeing_of(folder_of(sdxl)))
        model = load_double(folder_of(sdxl))

        def encode(frames):
            pixels = torch.from_numpy(frames).movedim(-1, 1).double() / 127.5 - 1
            latents = pipe.vae.encode(pixels).latent_dist.mode()
            return latents * pipe.vae.config.scaling_factor

        monkeypatch.setattr(model, "encode", encode)
        return model, pipe

    return made


def picture():
    return np.random.default_rng(2).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)


def asked(**more):
    given = {
        "source_prompt": "a cat on the grass",
        "prompt": "a fox on the grass",
        "negative_prompt": "blurred",
        "seed": 4,
    } | more
    clip = ArrayClip(picture(), fps=Fraction(8))
    labels = given.pop("labels", None)
    regions = given.pop("regions", ())
    return EditRequest(clip, labels, regions, method="instruct_pix2pix", **given)


def drawn(model, request, **given):
    """The latents of every edit."""
    params = check_params("instruct_pix2pix", {"preview_every": 0} | given)
    return finish(METHODS["instruct_pix2pix"].run(model, request, params)).edits


CASES = [
    *((False, sampler, SCALES[0]) for sampler in THEIRS),
    *((True, "euler_ancestral", scales) for scales in SCALES),
    *((False, "ddim", scales) for scales in SCALES[1:]),
]


@pytest.mark.full(but="False-euler_ancestral-scales3")
@pytest.mark.parametrize(("sdxl", "sampler", "scales"), CASES)
def test_a_picture_is_the_pipelines(pair, monkeypatch, no_grad, sdxl, sampler, scales):
    """By each sampler, guided by words and source, by words alone, and not."""
    model, pipe = pair(sdxl)
    pipe.scheduler, steps = scheduler_of(sampler)
    request = asked()
    words, source = scales
    (ours,) = drawn(
        model,
        request,
        steps=steps,
        sampler=sampler,
        guidance_scale=words,
        source_guidance=source,
    )
    fresh = seeded(request.seed)
    start, *noise = (
        torch.randn(SHAPE, generator=fresh).double() for _ in range(steps + 1)
    )
    draws_from(monkeypatch, iter(noise))
    found = pipe(
        "a fox on the grass",
        negative_prompt="blurred",
        image=Image.fromarray(picture()[0]),
        guidance_scale=words,
        image_guidance_scale=source,
        num_inference_steps=steps,
        latents=start,
        eta=0.3 if sampler == "tcd" else 0.0,
        output_type="latent",
        **({"height": HEIGHT, "width": WIDTH} if sdxl else {}),
    ).images
    far = (ours - found).abs().max() / found.abs().max()
    assert float(far) < 1e-6


def test_a_single_file_edits_as_its_folder(tiny_folder, tmp_path, no_grad):
    folder = tmp_path / "seeing"
    shutil.copytree(tiny_folder, folder)
    config = read_json(folder / "unet" / "config.json")
    write_json(folder / "unet" / "config.json", config | {"in_channels": 8})
    (path,) = (folder / "unet").glob("*.safetensors")
    weights = load_file(path)
    old = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat([old, old.flip(0)], 1)
    save_file(weights, path, {"format": "pt"})
    model = loaded(folder)
    file = load_file_of(original_layout(model), tmp_path / "seeing.safetensors")
    assert (file.beside, model.beside) == ("source", "source")
    given = {"steps": 2, "sampler": "euler"}
    request = replace(asked(), size=64)
    (ours,), (expected,) = (drawn(one, request, **given) for one in (file, model))
    assert torch.equal(ours, expected)


def test_rows_that_count_nothing_are_left_out():
    assert row_weights(1.0, 1.0) == {"cond": 1.0}
    assert row_weights(7.5, 1.0) == {"uncond/seeing": -6.5, "cond": 7.5}
    assert row_weights(7.5, 7.5) == {"uncond/blind": -6.5, "cond": 7.5}
    assert row_weights(0.0, 1.0) == {"uncond/seeing": 1.0, "cond": 0.0}


def two_regions():
    labels = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    labels[:, 2:12, 2:10] = 1
    labels[:, 4:14, 13:22] = 2
    left = Region("left", 1, "a panda", "a cat", strength=0.9, margin=0)
    right = Region("right", 2, "a fox", "a dog", strength=0.5, margin=0)
    words = {"source_prompt": "a cat and a dog on the grass", "prompt": ""}
    return asked(labels=labels, regions=(left, right), **words)


def test_the_order_of_regions_changes_nothing(folder_of, no_grad):
    """But the order in which some processors' kernels sum."""
    model = load_double(folder_of(False))
    request = two_regions()
    there = drawn(model, request, steps=3)
    back = drawn(model, replace(request, regions=request.regions[::-1]), steps=3)
    torch.testing.assert_close(there[0], back[0], rtol=0, atol=1e-11)


def test_one_region_over_everything_is_as_none(folder_of, no_grad):
    """Nothing is outside it, and no other region has words."""
    model = load_double(folder_of(False))
    words = "a fox on the grass"
    everything = np.ones((1, HEIGHT, WIDTH), np.uint8)
    region = Region("all", 1, words, "a cat on the grass", margin=0)
    whole = asked(labels=everything, regions=(region,), prompt="")
    assert whole.composed.text == words
    with_region = drawn(model, whole, steps=3)[0]
    torch.testing.assert_close(
        with_region, drawn(model, asked(), steps=3)[0], atol=1e-12, rtol=1e-12
    )


def test_words_guide_until_a_share_of_the_steps(folder_of, tmp_path):
    model = load_backbone(str(folder_of(False)))
    given = {"steps": 4, "source_guidance": 1.0, "guide_until": 0.5}
    run = drive(model, requested("instruct_pix2pix"), tmp_path, **given)
    assert [call.branches for call in run.calls] == [2, 2, 1, 1]


def test_each_of_several_prompts_is_drawn_as_alone(folder_of, no_grad):
    model = load_double(folder_of(False))
    others = ("a fox on the snow", "a panda on the grass")
    both = asked(prompt=others[0], more_prompts=others[1:])
    together = drawn(model, both, steps=3)
    for one, prompt in zip(together, others, strict=True):
        torch.testing.assert_close(one, drawn(model, asked(prompt=prompt), steps=3)[0])


@pytest.mark.parametrize("method", ["videograin", "fatezero", "tune_a_video"])
def test_methods_that_invert_refuse_it_by_name(folder_of, method):
    request = replace(requested(method), model=str(folder_of(False)))
    with pytest.raises(ModelError, match=r"inverted.*Use instruct_pix2pix"):
        list(edit(request))


def test_other_models_are_refused_by_name(small_folder):
    request = replace(requested("instruct_pix2pix"), model=str(small_folder))
    with pytest.raises(ModelError, match="a view of the source"):
        list(edit(request))


def test_a_call_that_shows_it_nothing_is_refused(folder_of):
    """As of a method of another package that does not know such models."""
    model = load_backbone(str(folder_of(False)))
    text = model.embed(["a cat"])
    with pytest.raises(ModelError, match="reads more than its latents"):
        model.predict(torch.randn(SHAPE), model.schedule.sampling(4)[0], text)


@pytest.mark.parametrize("method", ["sdedit", "infedit", "fresco"])
def test_methods_that_draw_anew_take_it(folder_of, tmp_path, method):
    """They show it the source, as the autoencoder gives it."""
    model = load_backbone(str(folder_of(False)))
    more = {"optimise_until": 0.0} if method == "fresco" else {}
    given = {"steps": 2, "preview_every": 0, **more}
    run = drive(model, requested(method), tmp_path, **given)
    raw = run.clean / model.vae.config.scaling_factor
    for call in run.calls:
        torch.testing.assert_close(call.change.beside, raw)
    assert not np.array_equal(run.result.frames, run.result.source)

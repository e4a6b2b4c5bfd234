"""Inpainting models (9 channels) and blending (4) beside diffusers' inpainting pipelines,
on random weights."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from diffusers import pipelines as theirs
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from made_models import load_double, write_small_model
from PIL import Image
from pipelines import in_double, inpainting_of
from running import finish
from wiring import drive, requested

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.diffusion.schedule import common_noise
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.recipe.beside import beside_latents
from regrain.editing.recipe.window import working_clip

pytestmark = pytest.mark.usefixtures("own_cache")
HEIGHT = 16
WIDTH = 24
STEPS = 5


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Folders of models by family and by what they read beside."""
    made = {}

    def folder(sdxl, beside):
        if (sdxl, beside) not in made:
            place = tmp_path_factory.mktemp("models") / "model"
            made[sdxl, beside] = write_small_model(place, sdxl, beside)
        return made[sdxl, beside]

    return folder


@pytest.fixture
def pair(folder_of, request, monkeypatch):
    """A model and diffusers' pipeline of the same weights, both in double precision,
    with one autoencoder."""
    folder = folder_of(*request.param)
    pipe = in_double(inpainting_of(folder))
    monkeypatch.setattr(
        DiagonalGaussianDistribution, "sample", lambda self, *_: self.mode()
    )
    model = load_double(folder)

    def encode(frames):
        pixels = torch.from_numpy(frames).movedim(-1, 1).double() / 127.5 - 1
        latents = pipe.vae.encode(pixels).latent_dist.mode()
        return latents * pipe.vae.config.scaling_factor

    monkeypatch.setattr(model, "encode", encode)
    return model, pipe


def picture():
    return np.random.default_rng(2).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)


def mask():
    """A box whose edges are those of cells, for which any rule is the same."""
    found = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    found[:, 4:12, 6:18] = 1
    return found


def asked():
    region = Region("box", 1, prompt="a fox", source="a cat", margin=0)
    return EditRequest(
        ArrayClip(picture(), fps=Fraction(8)),
        mask(),
        (region,),
        source_prompt="a cat on the grass",
        prompt="a fox on the grass",
        negative_prompt="blurred",
        method="sdedit",
        seed=4,
    )


BOTH = [(False, "hole"), (True, "hole"), (False, ""), (True, "")]


@pytest.mark.full(but="(False, 'hole')")
@pytest.mark.parametrize("pair", BOTH, indirect=True, ids=str)
def test_a_picture_is_the_pipelines(pair, monkeypatch, no_grad):
    """With 9 channels from pure noise; with 4 part of the way, and the picture outside
    at every step."""
    model, pipe = pair
    strength = 1.0 if model.beside else 0.8
    given = {"steps": STEPS, "guidance_scale": 2.0, "strength": strength}
    request = asked()
    params = check_params("sdedit", given)
    (ours,) = finish(METHODS["sdedit"].run(model, request, params)).edits

    noise = common_noise(ours, torch.Generator().manual_seed(request.seed))
    for module in (
        theirs.stable_diffusion.pipeline_stable_diffusion_inpaint,
        theirs.stable_diffusion_xl.pipeline_stable_diffusion_xl_inpaint,
    ):
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: noise)
    found = pipe(
        "a fox on the grass",
        negative_prompt="blurred",
        image=Image.fromarray(picture()[0]),
        mask_image=Image.fromarray(255 * mask()[0]),
        height=HEIGHT,
        width=WIDTH,
        strength=strength,
        guidance_scale=2.0,
        num_inference_steps=STEPS,
        output_type="latent",
    ).images
    far = (ours - found).abs().max() / found.abs().max()
    assert float(far) < 1e-6


def test_the_mask_covers_every_touched_cell_and_hides_what_it_should(folder_of):
    model = load_backbone(str(folder_of(False, "hole")))
    labels = mask()
    labels[:, 12, 9] = 1  # one pixel of a cell
    request = replace(asked(), labels=labels)
    working = working_clip(model, request)
    source = model.encode(working.frames)
    beside = beside_latents(model, working, source)
    cells = labels.reshape(HEIGHT // 2, 2, WIDTH // 2, 2).any((1, 3))
    assert np.array_equal(beside[0, 0].numpy() > 0, cells)
    hidden = np.where(labels[..., None] > 0, np.float32(127.5), working.frames)
    assert beside[:, 1:].equal(model.encode(hidden.astype(np.float32)))


def test_without_regions_everything_is_drawn_anew(folder_of):
    model = load_backbone(str(folder_of(False, "hole")))
    request = replace(asked(), labels=None, regions=())
    working = working_clip(model, request)
    beside = beside_latents(model, working, model.encode(working.frames))
    assert bool((beside[:, 0] == 1).all())


@pytest.mark.parametrize("method", ["sdedit", "infedit", "fresco"])
def test_methods_that_draw_anew_take_an_inpainting_model(folder_of, tmp_path, method):
    model = load_backbone(str(folder_of(False, "hole")))
    more = {"optimise_until": 0.0} if method == "fresco" else {}
    given = {"steps": 2, "preview_every": 0, **more}
    run = drive(model, requested(method), tmp_path, **given)
    assert all(call.change.beside is not None for call in run.calls)
    assert not np.array_equal(run.result.frames, run.result.source)

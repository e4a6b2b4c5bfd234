"""Wan 2.2 of 5 billion weights, from text: its autoencoder and a run beside diffusers,
its sizes, and what is refused."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from damaged_models import config, refusal
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from made_clips import noise
from made_models import aligned, load_double, randn, write_wan
from running import finish
from wiring import requested

from regrain.editing.attention.layers import Grid, plain
from regrain.editing.diffusion.flow import FlowSchedule, UniPC
from regrain.editing.methods.flow_regions import run
from regrain.editing.models.files.configs import wan_side
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.offers import WAN
from regrain.editing.params.registry import check_params
from regrain.editing.pipeline import estimate
from regrain.editing.recipe.region_words import ClipModel, RegionText

VAE = "vae/config.json"
pytestmark = pytest.mark.usefixtures("no_grad")


class DoubleUniPC(UniPCMultistepScheduler):
    """The library's, with its arithmetic in double precision."""

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.sigmas = self.sigmas.double()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A narrow one."""
    return write_wan(tmp_path_factory.mktemp("models") / "coarse", coarse=True)


@pytest.fixture(scope="module")
def coarse(folder):
    return load_double(folder)


@pytest.mark.parametrize("count", [1, 5, 9])
def test_frames_are_encoded_and_decoded_as_the_library_does(coarse, folder, count):
    frames = noise(count, 16, 32, 3, seed=count)
    vae = aligned(AutoencoderKLWan.from_pretrained(folder / "vae"))
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    middle, spread = (
        torch.tensor(part)[:, None, None]
        for part in (vae.config.latents_mean, vae.config.latents_std)
    )
    mean = vae.encode(pixels.contiguous()).latent_dist.mode()[0].transpose(0, 1)
    found = coarse.encode(frames)
    assert coarse.grid(count, 16, 32) == Grid((count + 3) // 4, 2, 4)
    torch.testing.assert_close(found.float(), (mean - middle) / spread)
    shown = vae.decode(mean.transpose(0, 1)[None]).sample[0].permute(1, 2, 3, 0)
    shown = ((shown + 1) * 127.5).clamp(0, 255).numpy()
    assert np.abs(shown - coarse.decode(found)).max() <= 0.51


class Unbound:
    """Words that are bound to nothing."""

    def __init__(self, bound):
        self.bound = bound

    def attend(self, step, part):
        return plain


def test_a_run_is_the_librarys(coarse, folder, own_cache):
    """Which gives every token a timestep of its own, from text the same for all."""
    network = aligned(
        WanTransformer3DModel.from_pretrained(
            folder / "transformer", torch_dtype=torch.float64
        )
    )
    for one in (coarse.transformer, network):
        one.double()  # what reads the timestep, too: rows of it round differently
    seen = []
    network.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["timestep"].shape), with_kwargs=True
    )
    scheduler = DoubleUniPC(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    )
    text = coarse.embed(["a cat", "ugly"])
    x = randn(3, 4, 4, 6, dtype=torch.float64, seed=4)
    pipeline = WanPipeline(
        None, None, coarse.vae, scheduler, network, expand_timesteps=True
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.prepare_latents = lambda *given: given[-1]
    expected = pipeline(
        prompt_embeds=text[0].vectors.double(),
        negative_prompt_embeds=text[1].vectors.double(),
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=3,
        guidance_scale=5.0,
        latents=x.transpose(0, 1)[None],
        output_type="latent",
    ).frames[0]
    assert seen == 6 * [(1, 18)]
    clip = ClipModel(coarse, "ugly", [(0, 1, 2)])
    words = Unbound(RegionText.read(coarse, "a cat", [], "prompt", False))
    solver = UniPC()
    for step in FlowSchedule(5.0).sampling(3, "diffusers"):
        x0, _ = clip.guided(x, step, words, 5.0)
        x = solver.advance(x, x0, step)
    torch.testing.assert_close(x, expected.transpose(0, 1), atol=1e-9, rtol=0)


def test_it_is_told_by_its_index_and_edits(coarse, folder):
    assert facts_of(str(folder)).family == ("Wan 2.2 5B", WAN)
    assert (coarse.offers, coarse.notes, coarse.multiple) == (WAN, (), 16)
    asked = requested("flow_regions", frames=5)
    found = []
    for scale in (5.0, 12.0):
        given = {"steps": 2, "preview_every": 0, "guidance_scale": scale}
        params = check_params("flow_regions", given)
        found += finish(run(coarse, asked, params)).edits
    assert found[0].shape == found[1].shape == (2, 4, 4, 6)
    assert not torch.equal(*found)


def test_sizes_count_patches_of_pixels(coarse, folder):
    (sizes,) = estimate._sizes(
        replace(requested("flow_regions", frames=5), model=str(folder))
    )
    assert (sizes.factor, sizes.multiple, sizes.side) == (8, 16, 4 * 8)
    assert (coarse.factor, coarse.size) == (8, 4 * 8)
    assert [wan_side(None, factor) for factor in (8, 16)] == [480, 704]


REFUSED = {
    "do not fit together": config(VAE, patch_size=None),
    "parts of": config(VAE, out_channels=3),
    "has patch_size 4, which is not": config(VAE, patch_size=4),
    "is Wan with 52 input channels": config("transformer/config.json", in_channels=52),
}


@pytest.mark.parametrize("said", REFUSED)
def test_parts_that_disagree_are_refused_before_they_are_read(
    folder, tmp_path, monkeypatch, said
):
    copy = shutil.copytree(folder, tmp_path / "copy")
    REFUSED[said](copy)
    monkeypatch.setattr("regrain.editing.models.wan.load.read_weights", None)
    assert said in refusal(copy)

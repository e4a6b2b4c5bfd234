"""VACE: its condition beside diffusers."""

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from made_clips import noise
from made_models import aligned
from PIL import Image

from regrain.editing.attention.layers import Grid
from regrain.editing.models.wan.condition import condition, mask_channels

HEIGHT = 32
WIDTH = 48
CONFIG = "transformer/config.json"
PLAIN_CLASS = "WanTransformer3DModel"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
pytestmark = pytest.mark.usefixtures("no_grad")


class DoubleUniPC(UniPCMultistepScheduler):
    """The library's, with its arithmetic in double precision."""

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.sigmas = self.sigmas.double()


class DoublePipeline(WanVACEPipeline):
    """The library's, which rounds neither what it is given nor its latents."""

    def preprocess_conditions(self, *args):
        *given, _, device = args
        return super().preprocess_conditions(*given, torch.float64, device)

    def prepare_latents(self, *args):
        return args[-1]


@pytest.fixture(scope="module")
def pipeline(vace_folder):
    """The library's, in double precision."""
    parts = [
        aligned(kind.from_pretrained(vace_folder / name, torch_dtype=torch.float64))
        for kind, name in (
            (AutoencoderKLWan, "vae"),
            (WanVACETransformer3DModel, "transformer"),
        )
    ]
    vae, network = parts
    scheduler = DoubleUniPC(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    )
    made = DoublePipeline(None, None, vae, scheduler, network)
    made.set_progress_bar_config(disable=True)
    return made


def frames_of(count):
    return noise(count, HEIGHT, WIDTH, 3, seed=count)


def mask_of(count, soft=False):
    """A box that moves a pixel a frame; its edges are on no cell."""
    found = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    for at in range(count):
        found[at, 3 + at % 9 : 21, 5 + at % 20 : 37] = 255
    if soft:
        found[:, 10:14] = noise(count, 4, WIDTH, seed=3)
    return found


def pictures_of(count):
    """Of several shapes; sides are multiples of eight, to which the library cuts."""
    sizes = [(16, 16), (64, 24), (24, 80)]
    return [noise(1, *size, 3, seed=20 + size[0])[0] for size in sizes[:count]]


def ours(pipeline, frames, mask, pictures=()):
    """Our condition, by the library's autoencoder in double precision."""
    vae = pipeline.vae
    middle, spread = (
        torch.tensor(part)[:, None, None, None]
        for part in (vae.config.latents_mean, vae.config.latents_std)
    )

    def encode(frames):
        latents = vae.encode(pixels_of(frames).permute(1, 0, 2, 3)[None])
        return ((latents.latent_dist.mode()[0] - middle) / spread).transpose(0, 1)

    return condition(encode, frames, np.float32(mask / 255), pictures)


def pixels_of(frames):
    return torch.from_numpy(frames).permute(0, 3, 1, 2).double() / 127.5 - 1


def given_to_library(frames, mask, pictures):
    """Pictures the other way round, since it puts each before all others."""
    return {
        "video": pixels_of(frames)[None],
        "mask": torch.from_numpy(mask / 255)[None, :, None].expand(-1, -1, 3, -1, -1),
        "reference_images": [*map(Image.fromarray, pictures[::-1])] or None,
    }


def theirs(pipeline, *given):
    """The library's condition."""
    size = (1, HEIGHT, WIDTH, len(given[0]), None, None)
    asked = given_to_library(*given).values()
    video, masks, canvases = pipeline.preprocess_conditions(*asked, *size)
    latents = pipeline.prepare_video_latents(video, masks, canvases)
    channels = pipeline.prepare_masks(masks, canvases)
    return torch.cat([latents, channels], 1)[0].transpose(0, 1)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    ("count", "pictures"), [(1, 0), (5, 0), (5, 1), (5, 2), (17, 2)]
)
def test_a_condition_is_the_librarys(pipeline, count, pictures, soft):
    given = frames_of(count), mask_of(count, soft), pictures_of(pictures)
    found = ours(pipeline, *given)
    assert found.shape == (pictures + (count + 3) // 4, 96, HEIGHT // 8, WIDTH // 8)
    torch.testing.assert_close(found, theirs(pipeline, *given), atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [1, 5, 17, 81])
def test_channels_of_a_mask_are_the_librarys(pipeline, count):
    mask = np.float32(mask_of(count, soft=True)) / 255
    grid = Grid((count + 3) // 4, HEIGHT // 8, WIDTH // 8)
    whole = torch.from_numpy(mask)[None, None].expand(-1, 3, -1, -1, -1)
    expected = pipeline.prepare_masks(whole, [[]])[0].transpose(0, 1)
    assert torch.equal(mask_channels(mask, grid), expected)


def test_given_frames_at_an_end_do_not_show_in_the_mask():
    """A latent reads the middle of its share of the clip, not the frames it is of."""

    def kept(*given):
        mask = np.ones((81, HEIGHT, WIDTH), np.float32)
        mask[[*given]] = 0
        shown = mask_channels(mask, Grid(21, HEIGHT // 8, WIDTH // 8)).amax((1, 2, 3))
        return (shown == 0).nonzero().flatten().tolist()

    assert kept(0) == kept(80) == []
    assert kept(*range(17)) == [0, 1, 2, 3]


def test_a_clip_that_does_not_fill_its_latents_goes_on_drawn_anew(vace):
    frames, mask = frames_of(7), np.float32(mask_of(7) / 255)
    longer = np.concatenate([frames, frames[-1:], frames[-1:]])
    anew = np.ones_like(mask[:2])
    expected = condition(vace.encode, longer, np.concatenate([mask, anew]))
    assert torch.equal(condition(vace.encode, frames, mask), expected)


def test_frames_between_levels_are_encoded(vace):
    """As hidden pixels are: the middle of 0 and 255 is 0 to the autoencoder."""
    frames = frames_of(5)
    assert torch.equal(vace.encode(np.float32(frames)), vace.encode(frames))
    grey = vace.encode(np.full((5, HEIGHT, WIDTH, 3), np.float32(127.5)))
    middle, spread = vace._scale()
    nothing = vace.vae.encode(torch.zeros(1, 3, 5, HEIGHT, WIDTH)).latent_dist.mode()
    assert torch.equal(grey, ((nothing - middle) / spread)[0].transpose(0, 1))

"""VACE: its condition, a call and whole runs beside diffusers, what its control blocks
add."""

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from double_library import double, drawn_by_library, pipeline_of
from made_clips import noise
from made_models import aligned, load_double, randn, seeded, write_wan
from PIL import Image
from running import finish

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.attention.layers import plain
from regrain.editing.diffusion.schedule import generator
from regrain.editing.methods import vace as method
from regrain.editing.models.files.offers import VACE, family_of_configs
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.wan.condition import condition
from regrain.editing.params.registry import resolve_params
from regrain.editing.storage.memory import need_of

HEIGHT = 32
WIDTH = 48
pytestmark = pytest.mark.usefixtures("no_grad")


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
    vae = double(AutoencoderKLWan, vace_folder / "vae")
    network = double(WanVACETransformer3DModel, vace_folder / "transformer")
    return pipeline_of(DoublePipeline, vae, [network])


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
        "video": (pixels_of(frames)[None] + 1) / 2,
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


def given_to(model):
    """Latents, two prompts and a condition of a clip of nine frames."""
    found = condition(model.encode, frames_of(9), np.float32(mask_of(9) / 255))
    x = randn(len(found), 16, *found.shape[2:], dtype=torch.float64, seed=4)
    return x, model.embed(["a cat", "ugly"]), found


def test_a_call_is_the_librarys_for_every_prompt(vace_double, pipeline):
    """With the condition in all rows, what computes attention in control blocks, too,
    which counts by a number for each token."""
    x, text, context = given_to(vace_double)
    step = vace_double.schedule.sampling(4)[1]
    seen = []

    def attend(q, k, v, site):
        seen.append(site)
        return plain(q, k, v, site)

    tokens = torch.linspace(0.2, 1.5, len(x) * 6).double()
    scales = tokens.expand(2, -1)
    change = Intervention(attend, context=context, token_scale=tokens)
    x0, eps = vace_double.predict(torch.cat([x, x]), step, text, change)
    assert tuple(seen) == vace_double.sites
    assert [site.block for site in seen[:4:2]] == ["vace_blocks.0", "vace_blocks.1"]
    for number, found in enumerate((eps - x0).chunk(2)):
        (expected,) = pipeline.transformer(
            x.transpose(0, 1)[None],
            torch.tensor([step.t]),
            text[number].vectors.double(),
            control_hidden_states=context.transpose(0, 1)[None].double(),
            control_hidden_states_scale=scales[..., None],
            return_dict=False,
        )
        torch.testing.assert_close(
            found, expected[0].transpose(0, 1), atol=1e-6, rtol=0
        )


def test_without_hints_it_is_the_wan_of_its_base_layers(vace, vace_folder):
    x, text, context = given_to(vace)
    x = x.float()
    step = vace.schedule.sampling(4)[1]
    base = aligned(WanTransformer3DModel.from_pretrained(vace_folder / "transformer"))
    rows, told = x.transpose(0, 1)[None], torch.tensor([float(step.t)])
    (v,) = base(rows, told, text[0].vectors, return_dict=False)
    expected = x - step.noise * v[0].transpose(0, 1)
    seen = []

    def attend(q, k, v, site):
        seen.append(site.block)
        return plain(q, k, v, site)

    nothing = torch.zeros(len(x) * 6)
    for change in (
        Intervention(attend),
        Intervention(context=context, token_scale=nothing),
    ):
        assert torch.equal(vace.predict(x, step, text[0], change)[0], expected)
    assert not any("vace" in block for block in seen)
    with_it = vace.predict(x, step, text[0], Intervention(context=context))[0]
    assert not torch.equal(with_it, expected)


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("steps", [2, 3, 8])
def test_a_run_is_the_librarys(
    vace_double, pipeline, monkeypatch, own_cache, tmp_path, steps, scale
):
    check_run(vace_double, pipeline, monkeypatch, tmp_path, steps, scale)


def test_a_run_with_two_experts_is_the_librarys(
    pipeline, monkeypatch, own_cache, tmp_path
):
    model = load_double(write_wan(tmp_path / "pair", vace=True, experts=True))
    networks = [
        double(WanVACETransformer3DModel, tmp_path / "pair" / part)
        for part in model.networks
    ]
    both = pipeline_of(DoublePipeline, pipeline.vae, networks, 0.875)
    check_run(model, both, monkeypatch, tmp_path, 4, 5.0)


def check_run(model, pipeline, monkeypatch, tmp_path, steps, scale):
    """A run of the method, where nothing is bound, beside the library's; with a picture
    of the clip and one of the region."""
    frames, mask, pictures = frames_of(9), mask_of(9), pictures_of(2)
    # A network multiplies the roundings that both make before they call it.
    context = theirs(pipeline, frames, mask, pictures)
    monkeypatch.setattr(method, "condition", lambda *_, **__: context)
    source = randn(3, 16, HEIGHT // 8, WIDTH // 8, dtype=torch.float64)
    monkeypatch.setattr(model, "encode", lambda _: source)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    region = Region("cat", 1, "a cat", margin=0, picture=str(tmp_path / "1.png"))
    asked = EditRequest(
        ArrayClip(frames, fps=16),
        mask // 255,
        (region,),
        method="vace",
        picture=str(tmp_path / "0.png"),
        negative_prompt="ugly",
        seed=4,
    )
    fresh = seeded(4)
    beside = generator(4, 4)
    clip = torch.randn(source.shape, generator=fresh)
    x = torch.cat([torch.randn(2, *source.shape[1:], generator=beside), clip]).double()
    text = model.embed([asked.composed.text, "ugly"])
    how = {"height": HEIGHT, "width": WIDTH, "num_inference_steps": steps}
    how |= {"guidance_scale": scale}
    shown = given_to_library(frames, mask, pictures)
    expected = drawn_by_library(pipeline, text, x, **how, **shown)
    given = {"steps": steps, "guidance_scale": scale, "shift": 5.0}
    given |= {"preset": "diffusers", "preview_every": 0}
    params, _ = resolve_params("vace", given, {})
    found = finish(method.run(model, asked, params)).edits[0]
    torch.testing.assert_close(found, expected[2:], atol=1e-9, rtol=0)


# Of the published sizes: width, heads, blocks and control blocks, hidden width; and the
# weights that they make.
TRUE_SIZES = {
    "Wan 2.1 VACE": (12, 30, range(0, 30, 2), 8960, 2.15e9),
    "Wan 2.1 VACE, 14B": (40, 40, range(0, 40, 5), 13824, 17.34e9),
}


@pytest.mark.parametrize("family", TRUE_SIZES)
def test_true_sizes_are_those_that_memory_is_planned_by(family):
    heads, blocks, controlled, hidden, weights = TRUE_SIZES[family]
    config = {
        "num_attention_heads": heads,
        "attention_head_dim": 128,
        "num_layers": blocks,
        "ffn_dim": hidden,
        "vace_layers": [*controlled],
        "vace_in_channels": 96,
    }
    with torch.device("meta"):
        network = WanVACETransformer3DModel(**config)
    count = sum(weight.numel() for weight in network.parameters())
    assert count == pytest.approx(weights, rel=2e-3)
    transformer = {"_class_name": "WanVACETransformer3DModel", **config}
    assert family_of_configs({}, {}, {}, transformer) == (family, VACE)
    need = need_of(family)
    assert need.family == family
    assert need.weights * 2**30 == pytest.approx(2 * count, rel=0.02)


# --- What is refused, and what is told


def test_a_condition_needs_control_blocks(vace, wan):
    x, text, context = given_to(vace)
    step = vace.schedule.sampling(4)[1]
    text = text[0]
    change = Intervention(context=context)
    with pytest.raises(ValueError, match="no control blocks"):
        wan.predict(x[:, :4].float(), step, wan.embed(["a cat"]), change)

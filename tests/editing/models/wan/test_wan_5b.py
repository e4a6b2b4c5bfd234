"""Wan 2.2 of 5 billion weights, from text: its autoencoder and a run beside diffusers,
and its sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from double_library import FromText, double, drawn, drawn_by_library, pipeline_of
from made_clips import noise
from made_models import aligned, load_double, randn
from PIL import Image
from wiring import drive, near, requested

from regrain.editing import ArrayClip
from regrain.editing.attention.layers import Grid
from regrain.editing.errors import ModelError, RequestError
from regrain.editing.methods.flow_regions import holding
from regrain.editing.models.files.configs import wan_side
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.offers import FIRST, WAN
from regrain.editing.models.intervention import Intervention
from regrain.editing.params.registry import check_needs
from regrain.editing.pipeline.beforehand import working_size_of
from regrain.editing.pipeline.focus import asked_boxes
from regrain.editing.recipe.window import working_clip
from regrain.editing.request.runnable import check_runnable

FIRST_FRAME = noise(1, 32, 48, 3, seed=5)[0]
pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture(scope="module")
def coarse(coarse_folder):
    return load_double(coarse_folder)


@pytest.mark.parametrize("count", [1, 5, 9])
def test_frames_are_encoded_and_decoded_as_the_library_does(
    coarse, coarse_folder, count
):
    frames = noise(count, 16, 32, 3, seed=count)
    vae = aligned(AutoencoderKLWan.from_pretrained(coarse_folder / "vae"))
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


class FromPicture(WanImageToVideoPipeline):
    """The library's from a first frame, which does not round the latents, either."""

    def prepare_latents(self, *args):
        *sizes, _, device, fresh, latents, last = args
        return super().prepare_latents(
            *sizes, torch.float64, device, fresh, latents, last
        )


@pytest.mark.parametrize("kind", [FromText, FromPicture])
def test_a_run_is_the_librarys(coarse, coarse_folder, own_cache, kind):
    """Which gives every token a timestep of its own: that of a first frame is 0."""
    network = double(WanTransformer3DModel, coarse_folder / "transformer")
    for one in (coarse.transformer, network):
        one.double()  # what reads the timestep, too: rows of it round differently
    seen = []
    network.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["timestep"]), with_kwargs=True
    )
    text = coarse.embed(["a cat", "ugly"])
    x = randn(3, 4, 4, 6, dtype=torch.float64, seed=4)
    pipeline = pipeline_of(kind, coarse.vae, [network], expand_timesteps=True)
    is_given = kind is FromPicture
    how = {"height": 32, "width": 48, "num_inference_steps": 3}
    how |= {"image": Image.fromarray(FIRST_FRAME)} if is_given else {}
    expected = drawn_by_library(pipeline, text, x, **how)
    assert len(seen) == 6
    assert all((times[0, :6] == 0).all() == is_given for times in seen)
    assert all(times.shape == (1, 18) and times[0, 6:].all() for times in seen)
    first = None
    if is_given:
        first = expected[:1]
        found = coarse.encode(FIRST_FRAME[None])
        torch.testing.assert_close(found, first, atol=1e-5, rtol=0)
    found = drawn(coarse, x, 3, lambda *_: 5.0, holding(first))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_it_is_told_by_its_index(coarse, coarse_folder):
    assert facts_of(str(coarse_folder)).family == ("Wan 2.2 5B", WAN | FIRST)
    assert (coarse.offers, coarse.notes, coarse.multiple) == (
        WAN | FIRST,
        (),
        16,
    )


# --- An edit that begins with a frame that is given

FAST = {"steps": 2, "strength": 1.0, "preview_every": 0, "cuts": "none"}
FAST |= {"first_frame": True}


@pytest.fixture
def pictured(tmp_path):
    """A request whose whole frame has a picture, of which the left is transparent."""
    asked = requested("flow_regions")
    labels = np.repeat(np.asarray(asked.labels)[:1], 9, 0)
    clip = ArrayClip(noise(9, 16, 24, 3, seed=1), fps=8)
    asked = replace(asked, clip=clip, labels=labels)
    picture = noise(1, 16, 24, 4, seed=8)[0]
    picture[..., 3] = 255
    picture[:, :6, 3] = 0
    Image.fromarray(picture).save(tmp_path / "first.png")
    return replace(asked, picture=str(tmp_path / "first.png"), params=FAST)


def shown_first(asked, frame):
    """The first frame with that picture where something is edited."""
    picture = np.asarray(Image.open(asked.picture).resize((48, 32)))
    inside = np.asarray(asked.edited_mask)[0].repeat(2, 0).repeat(2, 1)
    share = (inside * picture[..., 3] / 255)[..., None]
    return np.rint(share * picture[..., :3] + (1 - share) * frame).astype(np.uint8)


def firsts(found):
    """What calls were given: new without and with words, old the same."""
    return [call.change.first for call in found.of("editing")]


@pytest.mark.full
def test_an_edit_begins_with_its_picture_and_the_source_with_its_own(
    coarse, pictured, tmp_path
):
    found = drive(coarse, pictured, tmp_path, **FAST)
    frames = working_clip(coarse, pictured).frames
    new = coarse.encode(shown_first(pictured, frames[0])[None])
    old = coarse.encode(frames)[:1]
    for at, (call, first) in enumerate(
        zip(found.of("editing"), firsts(found), strict=True)
    ):
        near(first, old if at % 4 > 1 else new, atol=1e-4)
        near(call.x0[:1], first, atol=1e-4)
    near(found.decoded[0][:1], new, atol=1e-4)
    own = drive(coarse, replace(pictured, picture=""), tmp_path, **FAST)
    for given in (*firsts(own), own.decoded[0][:1]):
        near(given, old, atol=1e-4)
    assert not torch.equal(own.decoded[0][1:], coarse.encode(frames)[1:])
    drawn = drive(coarse, pictured, tmp_path, **FAST | {"strength": 0.0})
    assert torch.equal(drawn.decoded[0], coarse.encode(frames))


@pytest.mark.full
def test_a_later_window_begins_with_the_last_finished_frame(coarse, pictured, tmp_path):
    found = drive(coarse, pictured, tmp_path, **FAST | {"window": 5})
    frames = working_clip(coarse, pictured).frames
    before = coarse.decode(found.decoded[0])[4]
    new, _, old, _ = firsts(found)[8:12]
    near(new, coarse.encode(before[None]), atol=1e-4)
    near(old, coarse.encode(frames[4:])[:1], atol=1e-4)
    assert len(found.result.frames) == 9
    assert [len(latents) for latents in found.decoded] == [2, 2]


@pytest.mark.full
def test_only_what_begins_the_clip_is_given(coarse, pictured, tmp_path):
    """Not a piece of it without its beginning, nor a later shot: the picture is not of
    that."""
    pieces = drive(coarse, pictured, tmp_path, **FAST | {"span": 5})
    assert [one is None for one in firsts(pieces)[:4]] == [False, True] * 2
    cut = drive(coarse, pictured, tmp_path, **FAST | {"cuts": "4"})
    assert [one is None for one in firsts(cut)[::8]] == [False, True]
    own = replace(pictured, picture="")
    each = drive(coarse, own, tmp_path, **FAST | {"cuts": "4"})
    assert not any(one is None for one in firsts(each))


def test_what_a_first_frame_may_not_be_is_said(
    coarse, wan, pictured, coarse_folder, wan_folder
):
    focused = replace(pictured, focus="16x16+0+0")
    left, right = pictured.regions
    many = replace(pictured, regions=(replace(left, picture=pictured.picture), right))
    for asked, said in (
        (
            replace(pictured, picture_scale=0.5),
            "^picture_scale: A first frame is taken",
        ),
        (focused, "^focus: A first frame is of the whole clip"),
        (many, "^regions.left.picture: With first_frame only a picture of"),
        (replace(pictured, params={}), "^picture: A picture needs a picture adapter"),
    ):
        with pytest.raises(RequestError, match=said):
            check_runnable(asked)
    # as the page adds one to every request; nothing looks by it
    check_runnable(replace(pictured, picture_adapter="ip"))
    Image.new("RGB", (24, 24)).save(pictured.picture)
    with pytest.raises(
        RequestError, match="^picture: It has 24 x 24 pixels, but as the"
    ):
        check_runnable(pictured)
    said = "^params.first_frame: 'mine' does not have a place for a first frame"
    with pytest.raises(ModelError, match=said):
        check_needs("flow_regions", FAST, WAN, "mine")
    check_needs("flow_regions", FAST, WAN | FIRST, "mine")
    given = randn(1, 4, 4, 6)
    with pytest.raises(ValueError, match="first: its tokens do not have a timestep"):
        wan.predict(
            randn(2, 4, 4, 6),
            wan.schedule.sampling(2)[0],
            wan.embed(["a cat"]),
            Intervention(first=given),
        )


def test_a_picture_of_the_frame_is_not_cut_to_a_box(pictured):
    labels = np.zeros((9, 96, 144), np.uint8)
    labels[:, 40:48, 40:48] = 1
    large = replace(
        pictured,
        clip=ArrayClip(noise(9, 96, 144, 3), fps=8),
        labels=labels,
        regions=pictured.regions[:1],
        focus="on",
    )
    found = [
        asked_boxes(replace(large, params=given), ())[0][1][0, 2:].tolist()
        for given in (FAST, {})
    ]
    assert found[0] == [144, 96] != found[1]


def test_sizes_count_patches_of_pixels(coarse, coarse_folder):
    asked = replace(requested("flow_regions", frames=5), model=str(coarse_folder))
    assert working_size_of(asked) == (4 * 8, 16)
    assert (coarse.factor, coarse.size) == (8, 4 * 8)
    assert [wan_side(None, factor) for factor in (8, 16)] == [480, 704]

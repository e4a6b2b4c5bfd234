"""Changes of a UNet for one call: a network over frames that stays the image network
where it must."""

import pytest
import torch
from made_models import randn

from regrain.editing.attention.backends import attention
from regrain.editing.attention.frames import across_frames, frames_seen
from regrain.editing.models.intervention import Intervention, joint_norm

FRAMES = 3
SEEN = {"sparse-causal": ("first", "previous"), "dense": "all", "middle": ("middle",)}


def attend_over(frames, selectors):
    seen = frames_seen(selectors, frames, torch.device("cpu"))

    def attend(q, k, v, site):
        return (
            attention(q, k, v)
            if site.kind == "cross"
            else across_frames(q, k, v, frames, seen)
        )

    return attend


@pytest.fixture(scope="module")
def image(tiny_double):
    """Noisy latents of one frame, their step and text, and what diffusers' own network
    makes of them."""
    model = tiny_double
    x = randn(1, 4, 16, 16).double()
    step, text = model.schedule.sampling(4)[1], model.embed(["a cat"])
    with torch.no_grad():
        expected = model.unet(x, torch.tensor(step.t), text.vectors.double()).sample
    return x, step, text, expected


@pytest.mark.parametrize("patch", [None, joint_norm], ids=["per frame", "joint"])
@pytest.mark.parametrize("see", SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("frames", [1, FRAMES])
def test_one_frame_and_equal_frames_are_the_image_model(
    tiny_double, image, see, patch, frames
):
    x, step, text, expected = image
    change = Intervention(attend_over(frames, see), (patch(frames),) if patch else ())
    _, eps = tiny_double.predict(x.repeat(frames, 1, 1, 1), step, text, change)
    torch.testing.assert_close(eps, expected.expand_as(eps), atol=1e-11, rtol=1e-11)


def test_joint_norm_is_group_norm_of_five_dimensions():
    norm = torch.nn.GroupNorm(4, 8, affine=True)
    torch.nn.init.normal_(norm.weight)
    x = randn(2 * FRAMES, 8, 5, 6, seed=2)
    video = x.unflatten(0, (2, FRAMES)).movedim(2, 1)
    model = torch.nn.Sequential(norm)
    with joint_norm(FRAMES)(model):
        found = model(x)
    torch.testing.assert_close(found, norm(video).movedim(1, 2).flatten(0, 1))
    assert torch.equal(model(x), norm(x))

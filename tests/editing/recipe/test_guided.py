"""FRESCO's attention: what it is when frames are equal, and where it works."""

import numpy as np
import pytest
import torch

from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.motion.correspondence import Motion, around
from regrain.editing.params.fresco import FrescoParams
from regrain.editing.recipe.guided import GuidedAttention

FRAMES, SIZE = 3, (4, 6)
GRID = Grid(FRAMES, *SIZE)
SITES = tuple(
    AttentionLayer(f"{block}.{kind}", kind, block)
    for block in (
        "down_blocks.0",
        "mid_block",
        "up_blocks.1",
        "up_blocks.2",
        "up_blocks.3",
    )
    for kind in ("self", "cross")
)
GUIDED, OTHER, CROSS = SITES[8], SITES[4], SITES[9]
BOTH = Batch(FRAMES, ("uncond", "cond"))
STEP = Schedule.from_config({"beta_schedule": "scaled_linear"}).sampling(20)[0]
OFF = {"spatial_steps": 0, "temporal_until": 0.0, "cross_frame": "own"}


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)


def made(motion=None, frames=None, **given):
    frames = np.zeros((FRAMES, 32, 48, 3), np.uint8) if frames is None else frames
    return GuidedAttention(
        frames,
        motion or around(frames, "dis"),
        GRID,
        SITES,
        FrescoParams(**given),
        None,
    )


def qkv(tokens=24):
    return torch.randn(3, 2 * FRAMES, 2, tokens, 8).unbind()


def test_other_layers_are_plain():
    looks = {GUIDED.name: qkv()[:2]}
    attend, (q, k, v) = made().attend(STEP, BOTH, looks), qkv()
    for site in (OTHER, CROSS):
        assert torch.equal(attend(q, k, v, site), attention(q, k, v))
    # With all parts off, so are the guided ones.
    assert torch.equal(
        made(**OFF).attend(STEP, BOTH, None)(q, k, v, GUIDED), attention(q, k, v)
    )


def test_equal_frames_without_motion_stay_equal():
    frame = torch.randn(3, 2, 1, 2, 24, 8).expand(3, 2, FRAMES, 2, 24, 8).flatten(1, 2)
    q, k, v = frame.unbind()
    out = (
        made()
        .attend(STEP, BOTH, {GUIDED.name: (q, k)})(q, k, v, GUIDED)
        .unflatten(0, (2, FRAMES))
    )
    torch.testing.assert_close(out, out[:, :1].expand_as(out))


def test_what_appears_in_a_frame_is_seen_by_all():
    hidden = torch.zeros(FRAMES, 32, 48, dtype=torch.bool)
    appeared = hidden.clone()
    appeared[1, :16] = True  # the upper half of the last frame
    motion = Motion(*torch.zeros(2, FRAMES, 2, 32, 48), hidden, appeared)
    q, k, v = qkv()
    found = made(motion, temporal_until=0.0).attend(STEP, BOTH, None)(q, k, v, GUIDED)
    for rows in (slice(FRAMES), slice(FRAMES, None)):
        keys, values = (torch.cat([x[rows][0], x[rows][2][:, :12]], 1) for x in (k, v))
        expected = attention(
            q[rows], *(x[None].expand(FRAMES, -1, -1, -1) for x in (keys, values))
        )
        torch.testing.assert_close(found[rows], expected)


def test_tokens_are_linked_by_the_middle_of_their_cells():
    appeared, flow = (
        torch.zeros(FRAMES, 32, 48, dtype=torch.bool),
        torch.zeros(FRAMES, 2, 32, 48),
    )
    appeared[0, 0, 0], appeared[1, 3:5, 11:13] = (
        True,
        True,
    )  # the corner of cell 0, the middle of cell 1
    flow[0, 0, 16:24, 24:32] = -8  # cell 15 leads to where 14 was, which 14 does, too
    frames = np.zeros((FRAMES, 32, 48, 3), np.uint8)
    frames[1:, 16:24, 16:24], frames[1:, 19:21, 19:21], frames[1:, 19:21, 27:29] = (
        200,
        0,
        100,
    )
    ids = torch.arange(24).repeat(FRAMES, 1)
    ids[2, 1] = 100
    ids[1:, 15] = 101
    same = ids.flatten()[:, None] == ids.flatten()
    q, k, v = qkv()
    motion = Motion(torch.zeros_like(flow), flow, torch.zeros_like(appeared), appeared)
    given = OFF | {"temporal_until": 1.0, "temporal_sharpness": 0.7}
    found = made(motion, frames, **given).attend(STEP, BOTH, None)(q, k, v, GUIDED)
    whole = [
        x.unflatten(0, (2, FRAMES)).transpose(1, 2).flatten(2, 3)
        for x in (q, k, attention(q, k, v))
    ]
    logits = (0.7 * whole[0] @ whole[1].mT / 8**0.5).masked_fill(~same, -torch.inf)
    expected = (
        (torch.softmax(logits, -1) @ whole[2])
        .unflatten(2, (FRAMES, 24))
        .transpose(1, 2)
        .flatten(0, 1)
    )
    torch.testing.assert_close(found, expected)

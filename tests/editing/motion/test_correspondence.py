import numpy as np
import pytest
import torch
from made_models import seeded
from made_motion import constant
from torch.nn.functional import interpolate

from regrain.editing.motion.correspondence import (
    Motion,
    around,
    find_motion,
    is_cut,
    newly_seen,
    smooth_background,
    token_maps,
    track_ids,
)
from storybook.rendering import render_frames
from storybook.world import sample_scene


def case(frames, side, seed=0):
    """Smooth motion, few colours so that there are ties, and a tenth of the tokens
    occluded."""
    generator = seeded(seed)
    coarse = 3 * torch.randn(frames - 1, 2, 5, 5, generator=generator)
    backward = interpolate(coarse, (side, side), mode="bilinear")
    appeared = torch.rand(frames - 1, side, side, generator=generator) < 0.1
    colours = torch.randint(0, 3, (frames, side, side, 3), generator=generator) * 40.3
    return backward, appeared, colours


def sequential(backward, appeared, colours):
    """The definition of `token_maps`: one pair after the other, one token after the
    other."""
    pairs = zip(backward, appeared, colours[:-1], colours[1:], strict=True)
    maps, links = zip(
        *(sequential_pair(*(x.numpy() for x in pair)) for pair in pairs), strict=True
    )
    return torch.tensor(maps), torch.tensor(links)


def sequential_pair(backward, appeared, here, there):
    height, width = appeared.shape
    best = {}
    for y, x in np.ndindex(height, width):
        column, row = round(x + backward[0, y, x]), round(y + backward[1, y, x])
        if appeared[y, x] or not (0 <= column < width and 0 <= row < height):
            continue
        red, green, blue = np.square(there[y, x] - here[row, column])
        place, candidate = row * width + column, (red + green + blue, y * width + x)
        best[place] = min(best.get(place, candidate), candidate)
    used = {token for _, token in best.values()}
    left = (token for token in range(height * width) if token not in used)
    tokens = range(height * width)
    return [best[p][1] if p in best else next(left) for p in tokens], [
        p in best for p in tokens
    ]


def texture(height=72, width=96, seed=0):
    coarse = np.random.default_rng(seed).integers(
        40, 216, (height // 4, width // 4, 3), dtype=np.uint8
    )
    return np.kron(coarse, np.ones((4, 4, 1), np.uint8))


def uniform(dx, dy, pairs=1, height=16, width=24):
    """The same motion everywhere, which hides nothing."""
    flow = constant(dx, dy, pairs, height, width)
    nowhere = torch.zeros(pairs, height, width, dtype=torch.bool)
    return Motion(flow, -flow, nowhere, nowhere.clone())


@pytest.fixture
def known_flow(monkeypatch):
    """Give `find_motion` these flows instead of an estimate."""
    place = "regrain.editing.motion.correspondence.estimate_both"
    return lambda *flows: monkeypatch.setattr(place, lambda *_: flows)


def moving_square():
    """A bright square of 24 pixels on a textured ground moves 6 pixels right; its true
    flows."""
    frames = np.stack([texture(), texture()])
    square = texture(24, 24, 1) // 2 + 128
    flows = [torch.zeros(1, 2, 72, 96) for _ in range(2)]
    for frame, (left, flow) in enumerate(zip((30, 36), flows, strict=True)):
        frames[frame, 24:48, left : left + 24] = square
        flow[0, 0, 24:48, left : left + 24] = 6 if frame == 0 else -6
    return frames, flows


def box(left, right):
    area = torch.zeros(72, 96, dtype=torch.bool)
    area[24:48, left:right] = True
    return area


def test_a_moving_square_hides_and_shows_what_it_passes(known_flow, monkeypatch):
    frames, flows = moving_square()
    known_flow(*flows)
    motion = find_motion(frames[:1], frames[1:])
    assert torch.equal(motion.hidden[0], box(54, 60))
    assert torch.equal(motion.appeared[0], box(30, 36))
    monkeypatch.undo()  # estimated motion finds the same bands
    motion = find_motion(frames[:1], frames[1:], "dis")
    assert motion.hidden[0, 26:46, 55:59].float().mean() > 0.8
    assert motion.appeared[0, 26:46, 31:35].float().mean() > 0.8
    assert motion.hidden.float().mean() < 3 * 24 * 6 / (72 * 96)


def test_a_shift_is_consistent_inside(known_flow):
    large = texture(96, 128)
    a, b = (
        large[8:80, 8:104],
        large[6:78, 5:101],
    )  # what is at (x, y) in a is at (x + 3, y + 2) in b
    there = uniform(3, 2, 1, 72, 96).forward
    known_flow(there, -there)
    motion = find_motion(a[None].copy(), b[None].copy())
    expected = torch.zeros(72, 96, dtype=torch.bool)
    expected[70:], expected[:, 93:] = True, True
    assert torch.equal(motion.hidden[0], expected)
    assert torch.equal(motion.appeared[0], expected.flip(0, 1))


@pytest.mark.parametrize(("off", "occluded"), [(0.8, False), (1.2, True)])
def test_flows_must_cancel_up_to_half_a_pixel_and_a_share_of_their_lengths(
    known_flow, off, occluded
):
    grey = np.full((1, 8, 120, 3), 100, np.uint8)
    forward = uniform(20, 0, 1, 8, 120).forward
    # Both directions allow 0.01 x (20 + 20 +- off) + 0.5 = about 0.9 pixels.
    known_flow(forward, -forward + torch.tensor([off, 0.0]).view(1, 2, 1, 1))
    assert find_motion(grey, grey).hidden[0, :, 25:90].all() == occluded


def test_pixels_of_another_colour_are_occluded(known_flow):
    known_flow(*[uniform(0, 0, 1, 8, 8).forward] * 2)
    for value, occluded in ((163, False), (164, True)):
        motion = find_motion(
            *(np.full((1, 8, 8, 3), grey, np.uint8) for grey in (100, value))
        )
        assert {
            *motion.hidden.flatten().tolist(),
            *motion.appeared.flatten().tolist(),
        } == {occluded}


def test_around_leads_from_each_frame_to_the_next_and_back_to_the_first():
    frames = render_frames(sample_scene(3, 4), 64)
    motion = around(frames, "dis")
    assert motion.forward.shape == (4, 2, 64, 64)
    last = find_motion(frames[3:], frames[:1], "dis")
    assert torch.equal(motion.forward[3:], last.forward)
    assert torch.equal(motion.appeared[3:], last.appeared)
    alone = around(frames[:1], "dis")
    assert len(alone.forward) == 1
    assert not any(
        x.any() for x in (alone.forward, alone.backward, alone.hidden, alone.appeared)
    )


def test_a_coarser_grid_has_shorter_flow_and_keeps_every_occlusion():
    motion = uniform(4, -8, 2)
    motion.hidden[1, 5, 9] = True
    motion.forward[0, 0, 0, 1:3] = torch.tensor([5.0, 7.0])
    motion.forward[0, 0, 1:3, 1:3] = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    small = motion.at((4, 6))
    assert small.forward.shape == (2, 2, 4, 6)
    assert small.forward[1].unique().tolist() == [-2, 1]
    assert (
        small.forward[0, 0, 0, 0] == (1 + 2 + 3 + 6) / 4 / 4
    )  # the four pixels in the middle of the cell
    assert small.hidden.nonzero().tolist() == [[1, 1, 2]]
    assert not small.appeared.any()
    assert motion.at((16, 24)) is motion
    assert uniform(4, 8).at((4, 12)).forward[0, :, 0, 0].tolist() == [2, 2]


@pytest.mark.parametrize("seed", range(6))
def test_maps_equal_their_definition_token_by_token(seed):
    values = case(4, 13, seed)
    maps, linked = token_maps(*values)
    expected, links = sequential(*values)
    assert torch.equal(maps, expected)
    assert torch.equal(linked, links)
    assert torch.equal(maps.sort(1)[0], torch.arange(169).expand(3, 169))
    assert 0 < linked.float().mean() < 1


def test_tracks_join_what_the_maps_link_and_begin_anew_where_a_link_is_broken():
    maps, linked = token_maps(*case(5, 7, 2))
    ids = track_ids(maps, linked)
    assert torch.equal(ids[0], torch.arange(49))
    for frame, (places, kept) in enumerate(zip(maps, linked, strict=True), 1):
        before, now = ids[frame - 1], ids[frame, places]
        assert torch.equal(now[kept], before[kept])
        fresh = int(ids[:frame].max()) + 1 + torch.arange(int((~kept).sum()))
        assert torch.equal(now[~kept].sort()[0], fresh)
    assert (torch.bincount(ids.flatten()) == 1).any()


def test_newly_seen_reads_the_middle_of_each_cell():
    motion = uniform(0, 0, 1)
    motion.appeared[0, 1, 5:7] = motion.appeared[0, 2, 5] = (
        True  # 3 of the 4 in the middle of cell (0, 1)
    )
    # 2 of the 4 in the middle of cell (2, 0): no majority
    motion.appeared[0, 8:10, 0:4] = True
    motion.appeared[0, 12, 12:16] = True  # none in the middle
    seen = newly_seen(motion, (4, 6))
    assert seen[1].nonzero()[:, 0].tolist() == [1]
    assert seen[0].all()
    assert newly_seen(motion[:0], (4, 6)).all()


def test_background_is_kept_apart_from_what_is_hidden_or_not_background():
    x, motion = torch.randn(2, 1, 16, 24), uniform(0, 0, 2)
    background = torch.ones(2, 1, 16, 24)
    background[1, :, :, :5], background[0, :, :, 19:] = (
        0,
        0,
    )  # of the frame, and of where it takes it from
    motion.appeared[0, 8, 12] = True
    motion.hidden[1] = True
    expected = torch.zeros(16, 24, dtype=torch.bool)
    expected[:, :5] = expected[:, 19:] = expected[8, 12] = True
    for dilate in (0, 5):
        expected[6:11, 10:15] |= dilate > 0
        fused = smooth_background(x, motion, background, dilate=dilate)
        assert torch.equal((fused[1, 0] - x[1, 0]).abs() < 1e-6, expected)


def test_cuts_are_found_and_shots_and_flat_frames_are_not_cut():
    shots = [render_frames(sample_scene(seed, 4), 64) for seed in (3, 8, 11)]
    frames = np.concatenate(shots)

    def cuts(frames):
        pairs = zip(frames[:-1, None], frames[1:, None], strict=True)
        return [number for number, pair in enumerate(pairs, 1) if is_cut(*pair)]

    assert cuts(frames) == [4, 8]
    for seed in range(20, 26):
        frames = render_frames(sample_scene(seed, 6, 1 + seed % 3), 64)
        assert cuts(frames) == [], seed
    flat = np.full((3, 32, 32, 3), 90, np.uint8)
    assert cuts(flat) == []

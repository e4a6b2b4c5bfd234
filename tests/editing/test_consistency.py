"""Features are optimised as the dense losses say, and nothing else is touched."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from editing.consistency import Agreement, agree, flow_distance, similarity_distance, with_statistics
from editing.correspondence import Motion

FRAMES, HEIGHT, WIDTH = 3, 6, 8
WANTED = Agreement(
    flow=1.0, similarity=50.0, circular=True, distance="absolute", rounds=20, learning_rate=0.02, restore=True
)


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)


def still(frames=FRAMES):
    flow = torch.zeros(frames, 2, HEIGHT, WIDTH)
    return Motion(flow, flow, *(torch.zeros(frames, HEIGHT, WIDTH, dtype=torch.bool) for _ in "ab"))


def random_motion():
    unseen = torch.rand(2, FRAMES, HEIGHT, WIDTH) < 0.2
    return Motion(*torch.randn(2, FRAMES, 2, HEIGHT, WIDTH), *unseen)


def features(rows=2 * FRAMES, channels=5):
    return torch.randn(rows, channels, HEIGHT, WIDTH)


def dense(rows, reference, distance):
    off = rows @ rows.transpose(1, 2) - reference @ reference.transpose(1, 2)
    return (off.abs() if distance == "absolute" else off.square()).mean()


def total(x, source, motion, wanted=WANTED):
    unit = [normalize(y.flatten(2).transpose(1, 2), dim=-1) for y in (x, source)]
    return wanted.flow * flow_distance(x, motion, wanted.circular) + wanted.similarity * dense(
        *unit, wanted.distance
    )


@pytest.mark.parametrize("distance", ["absolute", "squared"])
@pytest.mark.parametrize("places", [7, 1100])  # more than two blocks
def test_similarities_in_blocks_equal_the_dense_ones(places, distance):
    rows, reference = (normalize(torch.randn(2, places, 9), dim=-1) for _ in "ab")
    rows.requires_grad_(True)
    found, expected = similarity_distance(rows, reference, distance), dense(rows, reference, distance)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
    for one, other in zip(
        torch.autograd.grad(3 * found, [rows]), torch.autograd.grad(3 * expected, [rows]), strict=True
    ):
        assert (one - other).norm() <= 1e-6 * other.norm()


def test_the_slope_of_similarity_is_the_closed_form():
    x = torch.randn(1, 11, 4, dtype=torch.float64, requires_grad=True)
    reference = normalize(torch.randn(1, 11, 4, dtype=torch.float64), dim=-1)
    u = normalize(x, dim=-1)
    (found,) = torch.autograd.grad(similarity_distance(u, reference, "absolute"), [x])
    sign = (u @ u.mT - reference @ reference.mT).sign()
    sign[:, range(11), range(11)] = 0  # of places with themselves, always 1
    flat = 2 / 11**2 * sign @ u
    on_sphere = (flat - (flat * u).sum(-1, keepdim=True) * u) / x.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found, on_sphere, rtol=0, atol=1e-15)


@pytest.mark.parametrize("circular", [True, False])
def test_the_flow_is_compared_where_it_is_visible(circular):
    x, motion = features(FRAMES), still()
    motion.appeared[0], motion.hidden[2] = True, True
    after = x.roll(-1, 0)
    off = (after - x).abs()
    expected = (2 if circular else 1) * off[1] + (off[0] + off[2] if circular else 0)
    found = flow_distance(x, motion, circular)
    torch.testing.assert_close(found, expected.sum() / x.numel(), rtol=1e-4, atol=0)


def test_halves_of_guidance_do_not_touch():
    x, source, motion = features(), features(), random_motion()
    alone = [agree(x[rows], source[rows], motion, WANTED) for rows in (slice(3), slice(3, 6))]
    torch.testing.assert_close(agree(x, source, motion, WANTED), torch.cat(alone), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "change",
    [{}, {"circular": False}, {"distance": "squared"}, {"flow": 0.0}, {"similarity": 0.0}],
    ids=str,
)
def test_the_loss_falls(change):
    x, source, motion = features(), features(), random_motion()
    wanted = replace(WANTED, restore=False, **change)
    found = agree(x, source, motion, wanted)
    assert total(found, source, motion, wanted) < 0.95 * total(x, source, motion, wanted)


def test_what_agrees_already_stays():
    frame = features(1)
    x = frame.repeat(2 * FRAMES, 1, 1, 1)
    for distance in ("absolute", "squared"):
        found = agree(x, x, still(), replace(WANTED, distance=distance))
        torch.testing.assert_close(found, x, atol=1e-5, rtol=1e-5)


def test_statistics_are_put_back():
    x = 3 + 2 * features()
    found = agree(x, features(), random_motion(), WANTED)
    for a, b in ((found.mean((2, 3)), x.mean((2, 3))), (found.std((2, 3)), x.std((2, 3)))):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    free = agree(x, features(), random_motion(), replace(WANTED, restore=False))
    assert not torch.allclose(free.mean((2, 3)), x.mean((2, 3)), atol=1e-3)


def test_a_single_place_has_statistics():
    x = torch.randn(2, 4, 1, 1)
    torch.testing.assert_close(with_statistics(x + 5, x), x)


def test_without_weights_nothing_is_done():
    x = features().bfloat16()
    assert agree(x, features(), still(), replace(WANTED, flow=0.0, similarity=0.0)) is x


def test_dtype_shape_and_weights_are_left_alone():
    layer = torch.nn.Conv2d(5, 5, 1)
    source = features()
    x = layer(features())
    found = agree(x.to(torch.bfloat16), source, still(), WANTED)
    assert (found.dtype, found.shape, found.requires_grad) == (torch.bfloat16, x.shape, False)
    assert layer.weight.grad is None
    with torch.no_grad():
        assert agree(x, source, still(), WANTED).grad_fn is None

"""Features are optimised as the dense losses say, and nothing else is touched."""

import pytest
import torch
from torch.nn.functional import normalize

from regrain.editing.attention import feature_optimization as room
from regrain.editing.attention.feature_optimization import (
    optimize_features,
    unit_slope,
)
from regrain.editing.motion.correspondence import Motion
from regrain.editing.params.fresco import FrescoParams

FRAMES, HEIGHT, WIDTH = 3, 6, 8


WANTED = FrescoParams(
    flow_loss="circular", similarity_loss="absolute", learning_rate=0.02
)


def changed(**given):
    return WANTED.model_copy(update=given)


def optimised(x, source, wanted):
    """Of frames in which nothing moves."""
    flow = torch.zeros(FRAMES, 2, HEIGHT, WIDTH)
    nowhere = torch.zeros(FRAMES, HEIGHT, WIDTH, dtype=torch.bool)
    links = room.neighbours(Motion(flow, flow, nowhere, nowhere), circular=True)
    return optimize_features(x, source, links, wanted)


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)


def features(rows=2 * FRAMES):
    return torch.randn(rows, 5, HEIGHT, WIDTH)


def dense(rows, reference, distance):
    off = rows @ rows.mT - reference @ reference.mT
    return (off.abs() if distance == "absolute" else off.square()).mean()


@pytest.mark.parametrize("distance", ["absolute", "squared"])
@pytest.mark.parametrize(("places", "channels"), [(7, 9), (5, 3), (130, 9), (1000, 9)])
def test_the_slope_of_similarity_is_that_of_the_dense_loss(places, channels, distance):
    """With one block and with several, with rows together and alone."""
    rows, reference = (
        normalize(torch.randn(11, places, channels), dim=-1) for _ in "ab"
    )
    leaf = rows.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(dense(leaf, reference, distance), [leaf])
    off = unit_slope(rows, reference, distance) - expected
    assert off.norm() <= 1e-6 * expected.norm()


def test_statistics_of_a_single_place_are_put_back():
    single = torch.randn(2, 4, 1, 1)  # place
    torch.testing.assert_close(room.with_statistics(single + 5, single), single)


def test_what_only_rounding_made_has_no_slope_but_as_released():
    x = features(1).repeat(2 * FRAMES, 1, 1, 1)
    given = {
        "similarity_weight": 0.0,
        "optimise_rounds": 1,
    }
    x[1] += 1e-6
    moved = [
        optimised(x, x, changed(**given, details=details)) - x
        for details in ("fixed", "released")
    ]
    assert moved[0].abs().amax() < 1e-6
    assert moved[1].abs().amax() > WANTED.learning_rate / 2


def test_dtype_shape_and_weights_are_left_alone():
    layer = torch.nn.Conv2d(5, 5, 1)
    source = features()
    x = layer(features())
    found = optimised(x.to(torch.bfloat16), source, WANTED)
    assert (found.dtype, found.shape, found.requires_grad) == (
        torch.bfloat16,
        x.shape,
        False,
    )
    assert layer.weight.grad is None
    with torch.no_grad():
        assert optimised(x, source, WANTED).grad_fn is None
    # Without weights of the losses nothing is done.
    half = x.bfloat16()
    nothing = changed(flow_weight=0.0, similarity_weight=0.0)
    assert optimised(half, source, nothing) is half

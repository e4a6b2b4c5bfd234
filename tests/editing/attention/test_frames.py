"""Tokens of no other frame's track. Which frames a frame sees, and attention along tracks,
are held by the formulas of the methods."""

import pytest
import torch
from made_models import randn

from regrain.editing.attention import frames as room
from regrain.editing.attention.frames import tracks

BRANCHES, FRAMES, HEADS, TOKENS, DIM = 2, 4, 3, 5, 8


@pytest.fixture
def qkv():
    return randn(3, BRANCHES * FRAMES, HEADS, TOKENS, DIM).unbind()


def ordered(ids):
    return room.TrackOrder.of(ids, torch.device("cpu"))


def test_a_token_alone_in_its_track_keeps_its_value(qkv):
    ids = torch.arange(FRAMES * TOKENS).view(FRAMES, TOKENS)
    assert torch.equal(tracks(*qkv, ordered(ids), 0.2), qkv[2])

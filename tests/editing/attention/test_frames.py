"""Each frame sees exactly the frames it should: compared with loops, and by moving what
must not matter."""

import numpy as np
import pytest
import torch

from regrain.editing.attention import frames as room
from regrain.editing.attention.backends import attention
from regrain.editing.attention.frames import across_frames, frames_seen, tracks

BRANCHES, FRAMES, HEADS, TOKENS, DIM = 2, 4, 3, 5, 8


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(
        3, BRANCHES * FRAMES, HEADS, TOKENS, DIM, generator=generator
    ).unbind()


def loop(qkv, seen):
    """Attention frame by frame; `seen(frame)` lists the frames it looks at."""
    q, k, v = qkv
    rows = []
    for row in range(len(q)):
        first = row // FRAMES * FRAMES
        at = [first + frame for frame in seen(row % FRAMES)]
        keys, values = (torch.cat([*x[at]], 1)[None] for x in (k, v))
        rows.append(attention(q[row : row + 1], keys, values)[0])
    return torch.stack(rows)


def test_fold_and_unfold(qkv):
    folded = room.fold_frames(qkv[0], FRAMES)
    assert folded.shape == (BRANCHES, HEADS, FRAMES * TOKENS, DIM)
    assert torch.equal(folded[1, 2, 3 * TOKENS + 4], qkv[0][FRAMES + 3, 2, 4])
    assert torch.equal(room.unfold_frames(folded, FRAMES), qkv[0])


@pytest.mark.parametrize(
    ("selectors", "seen"),
    [
        (("own", "middle"), lambda f: [f, 1]),
        (("own",), lambda f: [f]),
        ("all", lambda _: range(FRAMES)),
        (("first", "previous"), lambda f: [0, max(f - 1, 0)]),
        (("own", "middle", "first"), lambda f: [f, 1, 0]),
    ],
)
def test_each_frame_sees_those_that_are_selected(qkv, selectors, seen):
    found = across_frames(*qkv, FRAMES, frames_seen(selectors, FRAMES, middle=1))
    torch.testing.assert_close(found, loop(qkv, seen))


def ordered(ids):
    return room.TrackOrder.of(ids, torch.device("cpu"))


def test_tracks_equal_a_loop_over_tokens(qkv, monkeypatch):
    """Random tracks of every length, one token a frame at most."""
    g = torch.Generator().manual_seed(1)
    ids = torch.stack([torch.randperm(8, generator=g)[:TOKENS] for _ in range(FRAMES)])
    assert set(ids.unique(return_counts=True)[1].tolist()) >= {1, 2, 3}
    expected = torch.empty_like(qkv[2])
    for row, token in np.ndindex(len(expected), TOKENS):
        first = row // FRAMES * FRAMES
        seen = (ids == ids[row % FRAMES, token]).nonzero()
        q = qkv[0][row, :, token][None, :, None]
        k, v = (
            torch.stack([x[first + f, :, n] for f, n in seen.tolist()], 1)[None]
            for x in qkv[1:]
        )
        expected[row, :, token] = attention(q, k, v)[0, :, 0]
    torch.testing.assert_close(tracks(*qkv, ordered(ids)), expected)
    monkeypatch.setattr("regrain.editing.attention.backends._RUNS_AT_ONCE", 2)
    torch.testing.assert_close(tracks(*qkv, ordered(ids)), expected)


def test_a_token_alone_in_its_track_keeps_its_value(qkv):
    ids = torch.arange(FRAMES * TOKENS).view(FRAMES, TOKENS)
    assert torch.equal(tracks(*qkv, ordered(ids), 0.2), qkv[2])


@pytest.mark.parametrize(
    "selectors", ["all", ("own",), ("first", "previous"), ("own", "middle")]
)
def test_labels_follow_the_keys(qkv, selectors):
    """Labels written into k arrive where `labels_seen` says they do."""
    labels = torch.randint(
        0, 9, (FRAMES, TOKENS), generator=torch.Generator().manual_seed(0)
    )
    rows = labels.float()[:, None, :, None]
    seen, laid = frames_seen(selectors, FRAMES, middle=1), []

    def attend(q, k, v):
        laid.extend((q[:, 0, :, 0].long(), k[:, 0, :, 0].long()))
        return q

    across_frames(rows, rows, rows, FRAMES, seen, attend)
    assert all(
        torch.equal(a, b)
        for a, b in zip(laid, room.labels_seen(labels, seen), strict=True)
    )

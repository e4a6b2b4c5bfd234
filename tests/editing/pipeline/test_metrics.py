from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from regrain.editing import ArrayClip, EditRequest, EditResult, Region, RegionAttention
from regrain.editing.media.lazy_frames import DiskFrames, frames_of, windows
from regrain.editing.pipeline.metrics import BEST_PSNR, measure, psnr, ssim, warp_error


@pytest.fixture
def pair():
    """Frames of blocks, and the same with noise."""
    rng = np.random.default_rng(0)
    clean = np.kron(rng.integers(30, 220, (2, 8, 12, 3)), np.ones((1, 8, 8, 1))).astype(
        np.uint8
    )
    return clean, (clean + rng.integers(-20, 21, clean.shape)).clip(0, 255).astype(
        np.uint8
    )


def to_torch(frames):
    return torch.from_numpy(frames).double().permute(0, 3, 1, 2)


def everywhere(frames):
    return np.ones(frames.shape[:3], bool)


def test_psnr_and_ssim_agree_with_torchmetrics(pair):
    a, b = pair
    expected = peak_signal_noise_ratio(to_torch(b), to_torch(a), data_range=255.0)
    assert psnr(a, b, everywhere(a)) == pytest.approx(float(expected), abs=1e-6)
    options = {"data_range": 255.0, "sigma": 1.5, "return_full_image": True}
    _, expected = structural_similarity_index_measure(
        to_torch(b), to_torch(a), **options
    )
    inner = everywhere(a)
    inner[:, :6], inner[:, -6:], inner[:, :, :6], inner[:, :, -6:] = (
        False,
        False,
        False,
        False,
    )
    expected = float(expected[..., 6:-6, 6:-6].mean())
    assert ssim(a, b, inner) == pytest.approx(expected, abs=1e-3)


def test_only_the_pixels_asked_for_count(pair):
    a, b = pair
    where = everywhere(a)
    where[:, :, :40] = False
    b = b.copy()
    b[where] = a[where]
    assert psnr(a, b, where) == BEST_PSNR
    assert psnr(a, b, everywhere(a)) < 40
    where[:, :, 40:50] = False  # the window of SSIM reaches across
    assert ssim(a, b, where) == pytest.approx(1)
    assert psnr(a, b, np.zeros_like(where)) is None
    assert ssim(a, b, np.zeros_like(where)) is None


def moving(step, frames=4, size=128):
    large = (
        np.random.default_rng(1)
        .integers(0, 256, (60, 60, 3), dtype=np.uint8)
        .repeat(4, 0)
        .repeat(4, 1)
    )
    return np.stack(
        [
            large[20 : 20 + size, 20 + step * i : 20 + step * i + size]
            for i in range(frames)
        ]
    )


def test_warp_error_asks_whether_the_edit_moves_as_the_source_does():
    source = moving(3)
    follows = warp_error(source, 255 - source)
    flickers = warp_error(
        source, (255 - source) // np.array([1, 2, 1, 2], np.uint8)[:, None, None, None]
    )
    stands = warp_error(source, np.repeat(source[:1], 4, 0))
    assert follows < 0.05
    assert flickers > 3 * follows
    assert stands > 3 * follows
    assert warp_error(source[:1], source[:1]) is None
    still = np.repeat(source[:1], 3, 0)
    assert warp_error(still, still) == pytest.approx(0, abs=1e-3)


def test_measure_reports_every_key(pair):
    source, noisy = pair
    labels = np.zeros(source.shape[:3], np.uint8)
    labels[:, :, :48], labels[:, :, 72:] = 1, 2
    regions = (Region("left", 1, "a fox", margin=0), Region("right", 2))
    request = EditRequest(clip=ArrayClip(source), labels=labels, regions=regions)
    before, after = (
        np.full((2, 4, 6), 0.25, np.float32),
        np.zeros((2, 4, 6), np.float32),
    )
    after[:, :, :3] = 0.75
    attention = {"left": RegionAttention(before, after)}
    composited = np.where(request.edited_mask[..., None], noisy, source)
    metrics = measure(
        EditResult(composited, noisy, source, request.edited_mask, attention), request
    )
    assert metrics["outside_psnr"] == BEST_PSNR
    assert metrics["outside_psnr_uncomposited"] == pytest.approx(
        psnr(source, noisy, ~request.edited_mask)
    )
    assert metrics["outside_psnr_uncomposited"] < 40
    assert 0.9 < metrics["outside_ssim"] <= 1
    assert 0 < metrics["warp_error"] < 1
    assert metrics["attention"] == {
        "left": {
            "inside_before": 0.25,
            "inside_after": 0.75,
            "outside_before": 0.25,
            "outside_after": 0.0,
        }
    }


def test_a_mask_that_cuts_a_cell_counts_by_its_share():
    source = np.zeros((1, 8, 8, 3), np.uint8)
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[:, :, :3] = 1  # three quarters of the left cells, none of the right
    heat = np.zeros((1, 2, 2), np.float32)
    heat[:, :, 0] = 1
    request = EditRequest(
        clip=ArrayClip(source), labels=labels, regions=(Region("a", 1, "b", margin=0),)
    )
    result = EditResult(
        source, source, source, request.edited_mask, {"a": RegionAttention(heat, heat)}
    )
    attention = measure(result, request)["attention"]["a"]
    assert attention["inside_after"] == pytest.approx(1)
    assert attention["outside_after"] == pytest.approx(0.25 / 1.25)


@pytest.fixture
def edited():
    """A request and a result of five frames whose every figure differs from frame to
    frame."""
    rng = np.random.default_rng(2)
    source = moving(2, 5, 64)
    labels = np.zeros(source.shape[:3], np.uint8)
    for index, frame in enumerate(labels):
        frame[5 : 20 + index, 7:30], frame[40:, 30 + 3 * index :] = 1, 2
    regions = (Region("left", 1, "a fox", margin=3), Region("right", 2))
    request = EditRequest(clip=ArrayClip(source), labels=labels, regions=regions)
    changed = (source + rng.integers(0, 30, source.shape)).clip(0, 255).astype(np.uint8)
    maps = [rng.random((5, 4, 6), np.float32) for _ in range(4)]
    attention = {
        "left": RegionAttention(*maps[:2]),
        "right": RegionAttention(*maps[2:]),
    }
    return request, EditResult(
        changed // 2, changed, source, request.edited_mask, attention
    )


def test_the_figures_are_those_of_the_whole_clip_whatever_the_window(
    edited, monkeypatch
):
    request, result = edited
    found = []
    for size in (5, 1, 2, 4):
        by = lambda count, size=size: windows(count, size)  # noqa: E731
        monkeypatch.setattr("regrain.editing.pipeline.metrics.windows", by)
        found.append(measure(result, request))
    for other in found[1:]:
        for key in (
            "outside_psnr",
            "outside_ssim",
            "outside_psnr_uncomposited",
            "warp_error",
        ):
            assert other[key] == pytest.approx(found[0][key], abs=1e-9)
        for name, means in found[0]["attention"].items():
            assert other["attention"][name] == pytest.approx(means, abs=1e-9)
    outside = ~request.edited_mask
    squares = np.square(result.source.astype(float) - result.frames)[outside]
    assert found[0]["outside_psnr"] == pytest.approx(
        10 * np.log10(255**2 / squares.mean()), abs=1e-9
    )
    areas = (request.areas == 1).astype(np.float32)
    share = [cv2.resize(area, (6, 4), interpolation=cv2.INTER_AREA) for area in areas]
    expected = np.average(result.attention["left"].after, weights=1 - np.stack(share))
    assert found[0]["attention"]["left"]["outside_after"] == pytest.approx(
        expected, abs=1e-6
    )


def test_a_result_on_disk_measures_as_one_in_memory(edited):
    request, result = edited
    spooled = DiskFrames(64, 64)
    spooled.append(result.frames)
    on_disk = replace(result, frames=spooled, source=frames_of(request.clip))
    assert measure(on_disk, request) == measure(result, request)

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from made_clips import moving
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from benchmarks.judge import psnr, ssim
from regrain.editing import ArrayClip, EditRequest, EditResult, Region, RegionAttention
from regrain.editing.media.clip import resize
from regrain.editing.media.lazy_frames import DiskFrames, frames_of
from regrain.editing.motion import flow, known_flows
from regrain.editing.pipeline import metrics
from regrain.editing.pipeline.metrics import BEST_PSNR, measure
from regrain.editing.request import edit_request
from regrain.editing.request.frame_subset import pick
from regrain.editing.request.plan import Plan


@pytest.fixture
def pair():
    """Frames of blocks, and the same with noise."""
    rng = np.random.default_rng(0)
    clean = rng.integers(30, 220, (2, 8, 12, 3)).repeat(8, 1).repeat(8, 2)
    noisy = clean + rng.integers(-20, 21, clean.shape)
    return clean.astype(np.uint8), noisy.clip(0, 255).astype(np.uint8)


def to_torch(frames):
    return torch.from_numpy(frames).double().permute(0, 3, 1, 2)


def everywhere(frames):
    return np.ones(frames.shape[:3], bool)


def test_psnr_and_ssim_agree_with_torchmetrics(pair):
    a, b = pair
    given = to_torch(b), to_torch(a)
    expected = peak_signal_noise_ratio(*given, data_range=255.0)
    assert psnr(a, b, everywhere(a)) == pytest.approx(float(expected), abs=1e-6)
    options = {"data_range": 255.0, "sigma": 1.5, "return_full_image": True}
    _, expected = structural_similarity_index_measure(*given, **options)
    inner = ~everywhere(a)
    inner[:, 6:-6, 6:-6] = True
    expected = float(expected[..., 6:-6, 6:-6].mean())
    assert ssim(a, b, inner) == pytest.approx(expected, abs=1e-6)


def test_only_the_pixels_asked_for_count(pair):
    a, b = pair
    where = everywhere(a)
    where[:, :, :40] = False
    b[where] = a[where]
    assert psnr(a, b, where) == BEST_PSNR
    assert psnr(a, b, ~where) < 40
    where[:, :, 40:50] = False  # the window of SSIM reaches across
    assert ssim(a, b, where) == pytest.approx(1)
    for figure in (psnr, ssim):
        assert figure(a, b, where & False) is None


def warp_error(source, edited, plan=None):
    clip = ArrayClip(source)
    request = EditRequest(clip=clip, labels=None, regions=(), prompt="a fox")
    result = EditResult(edited, edited, source, request.edited_mask, {}, plan=plan)
    return measure(result, request)["warp_error"]


def test_warp_error_asks_whether_the_edit_moves_as_the_source_does():
    source = moving(4, 128, 128)
    still = np.repeat(source[:1], 4, 0)
    flickering = (255 - source) // np.uint8([1, 2, 1, 2])[:, None, None, None]
    follows = warp_error(source, 255 - source)
    assert follows < 0.05
    for edited in (flickering, still):
        assert warp_error(source, edited) > 3 * follows
    assert warp_error(source[:1], source[:1]) is None
    assert warp_error(still, still) == pytest.approx(0, abs=1e-3)


def test_motion_of_a_plate_is_that_of_smaller_frames(monkeypatch):
    source = moving(2, 160, 120)
    edit = 255 - moving(2, 160, 120)[::-1]
    small = [resize(frames, (80, 60)) for frames in (source, edit)]
    plan = Plan(2, (), ())
    expected = warp_error(*small, plan)
    assert warp_error(source, edit, plan) != expected
    monkeypatch.setattr(metrics, "_MOTION_SIDE", 80)
    assert warp_error(source, edit, plan) == expected


@pytest.mark.parametrize("frames", [3, 4])
def test_motion_leads_across_no_cut(frames):
    """Whether the cut is within the frames that are read together or between them."""
    shot = moving(frames, 128, 128)
    source = np.concatenate([shot, shot[:1, ::-1], shot[:1]])
    flickers = (255 - source) // np.uint8([1, 2, 1, 2, 1, 2])[
        : len(source), None, None, None
    ]
    plan = Plan(len(source), (frames, frames + 1), ())
    assert warp_error(source, flickers, plan) == warp_error(shot, flickers[:frames])
    assert warp_error(source, flickers) != warp_error(shot, flickers[:frames])


@pytest.fixture
def edited():
    """A request and a result of five frames whose every figure differs from frame to
    frame."""
    rng = np.random.default_rng(2)
    source = moving(5, 64, 64)
    labels = np.zeros(source.shape[:3], np.uint8)
    for index, frame in enumerate(labels):
        frame[5 : 20 + index, 7:30], frame[40:, 30 + 3 * index :] = 1, 2
    regions = (Region("left", 1, "a fox", margin=3), Region("right", 2))
    request = EditRequest(ArrayClip(source), labels, regions)
    changed = source // 2 + rng.integers(0, 30, source.shape, np.uint8)
    left, right = rng.random((2, 2, 5, 4, 6), np.float32)
    attention = {"left": RegionAttention(*left), "right": RegionAttention(*right)}
    mask = request.edited_mask
    return request, EditResult(changed // 2, changed, source, mask, attention)


def test_figures_are_those_of_their_pixels_and_cells_count_by_the_share_they_are_covered(
    edited,
):
    request, result = edited
    found = measure(result, request)
    source, frames, alone = result.source, result.frames, result.uncomposited
    inside, areas = request.edited_mask[:], request.areas[:]
    figures = {
        "outside_psnr": psnr(source, frames, ~inside),
        "outside_ssim": ssim(source, frames, ~inside),
        "outside_psnr_uncomposited": psnr(source, alone, ~inside),
        "inside_psnr": psnr(source, frames, inside),
        "inside_psnr_by_region": {"left": psnr(source, frames, areas == 1)},
        "warp_error": warp_error(source, frames),
        "warp_error_source": warp_error(source, source),
    }
    assert {name: found[name] for name in figures} == figures
    shares = {}
    for name, label in (("left", 1), ("right", 2)):
        covered = np.stack(
            [
                cv2.resize(
                    np.float32(area == label), (6, 4), interpolation=cv2.INTER_AREA
                )
                for area in areas
            ]
        )
        maps = result.attention[name]
        shares[name] = {
            f"{place}_{when}": pytest.approx(
                np.average(values, weights=weights), abs=1e-6
            )
            for place, weights in (("inside", covered), ("outside", 1 - covered))
            for when, values in (("before", maps.before), ("after", maps.after))
        }
    assert found["attention"] == shares


def test_a_result_on_disk_measures_as_one_in_memory(edited):
    request, result = edited
    spooled = DiskFrames(64, 64)
    spooled.append(result.frames)
    on_disk = replace(result, frames=spooled, source=frames_of(request.clip))
    assert measure(on_disk, request) == measure(result, request)


def test_what_is_not_there_has_no_figure(edited):
    request, result = edited
    everything = replace(result, edited_mask=everywhere(result.source))
    found = measure(everything, request)
    assert (found["outside_psnr"], found["outside_ssim"]) == (None, None)
    assert found["inside_psnr"] < 40


def test_flows_are_estimated_and_areas_grown_once(edited, watched):
    """By tracks and metrics of a run; another run estimates them anew."""
    request, result = edited
    estimated, hidden = watched(flow, "_dis_flow"), watched(flow, "occlusion")
    grown = watched(edit_request, "grow_labels")
    measure(result, request)
    assert pick(request, (1, 3)).areas[:].any()  # as a window of the run reads them
    assert len(grown) == len(request.clip)
    large = moving(3, 128, 128).repeat(2, 1).repeat(2, 2)
    shown = replace(result, frames=large, uncomposited=large, source=large)
    asked = EditRequest(ArrayClip(large), None, ())
    estimated.clear()
    hidden.clear()
    for _ in range(2):
        known_flows.forget()
        flow.follow(large, (32, 32), "dis")
        mask = asked.edited_mask
        measure(replace(shown, edited_mask=mask, attention={}), asked)
    assert (len(estimated), len(hidden)) == (2 * 4, 2 * 2)

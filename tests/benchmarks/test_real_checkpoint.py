"""The check of a real checkpoint, run whole on a random one: every figure is there, whatever it is worth."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.real_checkpoint import main, unchanged
from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.attention.layers import Grid
from regrain.editing.media.labels import write_labels
from regrain.editing.media.writing import write_video
from regrain.editing.methods.videograin import lay_out


@pytest.fixture
def clip(tmp_path, own_cache):
    frames = np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), dtype=np.uint8)
    write_video(tmp_path / "clip.mp4", frames, Fraction(8))
    labels = np.zeros((2, 96, 128), np.uint8)
    labels[:, 20:60, 20:60] = 2
    write_labels(labels, tmp_path / "masks", {})
    return tmp_path / "clip.mp4"


def call(folder, clip, *more):
    given = ["--model", folder, "--clip", clip, "--source", "a cat", "--prompt", "a red fox", "--frames", 2]
    return main([str(x) for x in (*given, "--steps", 2, "-o", clip.parent / "out", *more)])


@pytest.mark.parametrize("masks", [False, True])
def test_it_runs_from_a_folder_to_figures_and_a_sheet(tiny_folder, clip, capsys, masks):
    more = ["--masks", clip.parent / "masks", "--source-prompt", "a cat on the grass", "--set", "flow=dis"]
    assert call(tiny_folder, clip, *(more if masks else [])) == 1  # random weights cannot reconstruct
    facts = json.loads((clip.parent / "out" / "real_checkpoint.json").read_text())
    assert facts["size"] == [64, 64]
    assert facts["frames"] == 2
    for name in ("round trip dB", "reconstruction dB", "edit outside dB", "peak memory GB"):
        assert 0 < facts[name] < 100
    assert set(facts["seconds"]) >= {"inverting", "editing", "decoding"}
    assert facts["params"]["steps"] == {"value": 2, "source": "given"}
    sheet = np.asarray(Image.open(clip.parent / "out" / "real_checkpoint.png"))
    assert sheet.shape == (4 * 64, 2 * 64, 3)
    assert "reconstruction is below 25 dB" in capsys.readouterr().out


def test_the_reconstruction_goes_by_the_words_of_the_inversion(tiny):
    frames, labels = np.zeros((2, 64, 64, 3), np.uint8), np.zeros((2, 64, 64), np.uint8)
    labels[:, 20:40, 20:40] = 1
    region = Region("region", 1, prompt="a red fox", source="a cat")
    request = EditRequest(ArrayClip(frames), labels, (region,), "a cat on the grass, snow")
    same = unchanged(request)
    assert same.composed.text == request.source_prompt
    _, text = lay_out(tiny, same, Grid(2, 8, 8))
    for half, prompt in (("uncond", ""), ("cond", request.source_prompt)):
        expected = tiny.embed([prompt]).vectors
        torch.testing.assert_close(text[half].vectors, expected, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_done_is_one_line(tiny_folder, clip, capsys):
    assert call("nonsense", clip) == 2
    assert call(tiny_folder, clip, "--set", "steps") == 2
    assert call(tiny_folder, clip, "--frames", "9") == 2
    fields = [line.split(":")[:2] for line in capsys.readouterr().err.splitlines()]
    assert fields == [["error", " model"], ["error", " --set"], ["error", " clip.frames"]]

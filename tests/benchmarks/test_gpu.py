"""The benchmark of a graphics card says its speed as a Space reads it."""

import sys
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu
from regrain.ui.page import zero_gpu

pytestmark = pytest.mark.full


def test_the_last_line_sets_the_speed_of_a_space(tmp_path, monkeypatch, capsys):
    found = iter([80.0, 43.21])
    made = {
        "random_model": lambda _: "folder",
        "load_backbone": lambda *_, **__: SimpleNamespace(dtype=torch.float32),
        "speed": lambda *_: 1e12,
        "edit_row": lambda *_: {"foretold TFLOP/s": next(found)},
        "sdxl_call": lambda *_: {},
        "video_call": lambda *_: {},
    }
    for name, call in made.items():
        monkeypatch.setattr(gpu, name, call)
    given = ["--methods", "sdedit", "fatezero", "--device", "cpu", "--tokens", "64"]
    monkeypatch.setattr(sys, "argv", ["gpu", *given, "-o", str(tmp_path)])
    gpu.main()
    name, value = capsys.readouterr().out.splitlines()[-1].split("=")
    monkeypatch.setenv(name, value)
    assert zero_gpu.gpu_speed() == 43.2

import errno
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from commands import change, command, last_error
from json_files import read_json
from made_clips import flat, moving, write_clip
from made_pictures import write_picture
from safetensors.numpy import save

from regrain.editing.__main__ import _follow, main
from regrain.editing.errors import ResourceError
from regrain.editing.media.clip import ColorTags
from regrain.editing.media.mask_files import write_labels
from regrain.editing.media.writing import write_video
from regrain.editing.recipe import events

call = command(main)


@pytest.fixture
def material(tmp_path):
    """A clip of six frames and masks of two labels for every second of them."""
    frames = flat(range(0, 180, 30))
    write_video(tmp_path / "clip.mp4", frames, Fraction(12))
    labels = np.zeros((3, 16, 32), np.uint8)
    labels[:, :, :10], labels[:, :, 20:] = 1, 2
    write_labels(labels, tmp_path / "masks", {})
    return tmp_path


@pytest.fixture
def project(material):
    options = [
        "--masks",
        material / "masks",
        "--stride",
        2,
        "--source-prompt",
        "a cat sits",
        "--region",
        "1:cat=a fox",
        "--region-source",
        "1=a cat",
    ]
    assert call("new", material / "clip.mp4", "-o", material / "project", *options) == 0
    return material / "project"


@pytest.fixture
def run(project, tmp_path):
    """Runs the project; the folder of the results and what the report warns of."""

    def ran(*options, out="out"):
        out = tmp_path / out
        assert call("run", project, "-o", out, *options) == 0
        return out, read_json(out / "report.json")["warnings"]

    return ran


class Engine(list):
    """Returns the source, or fails; holds the requests it got."""

    error = None

    def edit(self, request, backbone=None):
        self.append(request)
        source = request.clip.read(0, len(request.clip))
        yield events.Stage("editing")
        if self.error:
            raise self.error
        yield events.Progress("editing", 1, 1, 0.0)
        result = events.EditResult(source, source, source, request.edited_mask, {})
        report = {"version": 1, "warnings": ["from the run"], "others": []}
        yield events.Finished(result, report)


@pytest.fixture
def requests(monkeypatch):
    """Takes the place of the runner."""
    engine = Engine()
    monkeypatch.setitem(sys.modules, "regrain.editing.pipeline.runner", engine)
    return engine


def test_what_is_odd_about_a_clip_is_said_of_a_new_project_and_of_a_checked_one(
    material, own_models, capsys
):
    hdr = ColorTags(9, 1, 9, 16)
    clip = write_clip(material / "hdr.mp4", moving(3, 32, 16), tags=hdr)
    project = material / "p"
    words = ["--region", "1:cat=a fox", "--source-prompt", "a cat"]
    masks = ["--masks", material / "masks"]
    assert call("new", clip, "-o", project, *masks, *words) == 0
    assert "is HDR" in capsys.readouterr().err
    guessed = "loras/my-lightning"
    (material / "loras").mkdir()
    content = save({"unet.x.lora_A.weight": np.zeros(2)})
    (material / f"{guessed}.safetensors").write_bytes(content)
    regions = read_json(project / "project.json")["regions"]
    regions[0]["picture"] = write_picture(project / "a.png").name
    added = {"regions": regions, "picture_adapter": "storybook/pictures"}
    for lora, said in ((guessed, "Lightning"), ("storybook/fast@1", "picture")):
        change(project, loras=[lora], method="instruct_pix2pix", **added)
        assert call("check", project) == 0
        told = capsys.readouterr().err
        assert "is HDR" in told
        assert said in told


@pytest.mark.parametrize(
    ("model", "motion", "kept"),
    [
        ("/models/sd", "storybook/motion@0.5", ""),
        ("/models/sd", "mine@0.5", "mine@0.5"),
        ("storybook", "storybook/motion@0.5", "storybook/motion@0.5"),
    ],
)
def test_another_model_drops_what_is_of_the_built_in_one_and_says_so(
    project, run, requests, model, motion, kept
):
    loras = ("storybook/fast@0.5", "mine")
    added = {"motion": motion, "loras": loras, "prediction": "epsilon"}
    change(project, model="storybook", **added)
    _, warnings = run("--model", model)
    is_own = model == "storybook"
    (asked,) = requests
    assert (asked.motion, asked.loras) == (kept, loras if is_own else loras[1:])
    assert asked.prediction == ("epsilon" if is_own else "")
    said = " ".join(warnings)
    assert ("dropped the motion adapter" in said) == (not kept)
    assert ("dropped the built-in LoRA" in said) == (not is_own)
    run("--prediction", "v_prediction", "--model", model, out="told")
    assert requests[1].prediction == "v_prediction"


def test_a_window_is_counted_once_it_is_done(capsys):
    begun = [events.WindowStarted(n, 2, work=8, left=8) for n in (1, 2)]
    for ended, counted in (([], "1/2"), ([events.Finished(None, {})], "2/2")):
        _follow(iter([*begun, *ended]))
        assert capsys.readouterr().err.split()[-1] == counted


def test_a_failed_run_leaves_nothing_and_bugs_keep_their_traceback(
    project, requests, tmp_path, capsys
):
    said = "3 frames of 32x16 do not fit. Lower size."
    requests.error = ResourceError("memory", said)
    assert call("run", project, "-o", tmp_path / "out") == 2
    assert last_error(capsys) == f"error: memory: {said}"
    assert not (tmp_path / "out").exists()
    requests.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        call("run", project, "-o", tmp_path / "out")


def test_doctor_names_versions_device_and_estimates(capsys):
    assert call("doctor") == 0
    shown = capsys.readouterr().out
    for word in ("Python", "torch", "device", "free memory", "attention", "estimate"):
        assert word in shown


def test_a_bad_project_is_refused_quickly_and_without_torch(project, tmp_path):
    change(project, seed=-1)
    code = "import sys; from regrain.editing.__main__ import main; code = main(sys.argv[1:]);"
    code += (
        "assert not {'torch', 'diffusers', 'cv2'} & set(sys.modules); sys.exit(code)"
    )
    given = ["run", project, "-o", tmp_path / "out"]
    before = os.times().children_user
    run = subprocess.run(
        [sys.executable, "-c", code, *given], capture_output=True, text=True
    )
    # of work, not of waiting; 0.7 s where this was written
    assert os.times().children_user - before < 2
    assert run.returncode == 2
    line = run.stderr.splitlines()[-1]
    assert line.startswith("error: seed: Expected a whole number from 0 to ")


def test_a_full_disk_that_nothing_else_names_is_told_in_one_line(monkeypatch, capsys):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("regrain.editing.__main__.schema", full)
    assert main(["schema"]) == 2
    assert last_error(capsys) == (
        "error: disk: It cannot be written (No space left on device). "
        "Free some space, or choose another folder."
    )

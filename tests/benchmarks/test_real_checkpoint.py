"""The check of a real checkpoint, run whole on a random one: every figure is there,
whatever it is worth."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from json_files import read_json
from made_clips import noise
from made_models import write_small_model
from PIL import Image

from benchmarks.real_checkpoint import ClipScore, main, unchanged
from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.attention.layers import Grid
from regrain.editing.media.mask_files import write_labels
from regrain.editing.media.writing import write_video
from regrain.editing.methods.videograin import lay_out

pytestmark = pytest.mark.full


@pytest.fixture
def clip(tmp_path, own_cache):
    frames = noise(3, 96, 128, 3)
    write_video(tmp_path / "clip.mp4", frames, Fraction(8))
    labels = np.zeros((2, 96, 128), np.uint8)
    labels[:, 20:60, 20:60] = 2
    write_labels(labels, tmp_path / "masks", {})
    return tmp_path / "clip.mp4"


def call(folder, clip, *more):
    given = [
        "--model",
        folder,
        "--clip",
        clip,
        "--source",
        "a cat",
        "--prompt",
        "a red fox",
        "--frames",
        2,
    ]
    return main(
        [str(x) for x in (*given, "--steps", 2, "-o", clip.parent / "out", *more)]
    )


def write_clip(folder, width, whole=False):
    """A narrow image encoder of CLIP, or a whole CLIP, that projects to so many
    numbers."""
    from transformers import (
        CLIPConfig,
        CLIPModel,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    sizes = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    vision = CLIPVisionConfig(
        **sizes, image_size=32, patch_size=8, projection_dim=width
    )
    model = CLIPVisionModelWithProjection(vision)
    if whole:
        both = {
            "text_config": sizes | {"projection_dim": width},
            "vision_config": vision.to_dict(),
        }
        model = CLIPModel(CLIPConfig(**both, projection_dim=width))
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("sdxl", [False, True])
def test_it_runs_from_a_folder_to_figures_a_table_and_a_sheet(
    tiny_folder, clip, capsys, sdxl
):
    more = []
    folder = tiny_folder
    if sdxl:
        folder = write_small_model(clip.parent / "xl", sdxl=True)
        more = [
            "--masks",
            clip.parent / "masks",
            "--source-prompt",
            "a cat, grass",
            "--set",
            "flow=dis",
            "--clip-model",
            write_clip(clip.parent / "eyes", 24),
            "--size",
            "64",
        ]
    assert call(folder, clip, *more) == 1  # random weights cannot reconstruct
    facts = read_json(clip.parent / "out" / "real_checkpoint.json")
    assert facts["size"] == [88 if sdxl else 64, 64]
    assert facts["frames"] == 2
    for name in (
        "round trip dB",
        "reconstruction dB",
        "edit outside dB",
        "peak memory GB",
    ):
        assert 0 < facts[name] < 100
    sheet = np.asarray(Image.open(clip.parent / "out" / "real_checkpoint.png"))
    assert sheet.shape == (4 * 64, 2 * facts["size"][0], 3)
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == f"| {folder.name}, 2 steps | found | good |"
    found = {row.split(" |")[0][2:]: row for row in rows}
    assert found["reconstructs (25 dB)"].endswith("| **no** |")
    assert found["outside unchanged"].endswith("pixels differ | yes |")
    assert 0 < facts["pixels outside"] < 2 * 96 * 128
    assert ("not scored" in found["edits (CLIP score)"]) is not sdxl


def test_the_score_is_the_cosine_of_clip(tmp_path, tiny):
    from transformers import CLIPImageProcessor, CLIPModel

    place = write_clip(tmp_path / "clip", 16, whole=True)
    frames = noise(2, 40, 60, 3)
    whole = CLIPModel.from_pretrained(place)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    pixels = CLIPImageProcessor(**sizes)(list(frames), return_tensors="pt").pixel_values
    tokens = torch.tensor(tiny.check_prompts(["a red fox"], ["prompt"]).ids)
    with torch.no_grad():
        logits = (
            whole(input_ids=tokens, pixel_values=pixels).logits_per_image
            / whole.logit_scale.exp()
        )
    assert ClipScore(str(place), tiny)(frames, "a red fox") == pytest.approx(
        float(logits.mean()), abs=1e-5
    )


def test_the_reconstruction_goes_by_the_words_of_the_inversion(tiny):
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[:, 20:40, 20:40] = 1
    region = Region("region", 1, prompt="a red fox", source="a cat")
    request = EditRequest(
        ArrayClip(frames), labels, (region,), "a cat on the grass, snow"
    )
    same = unchanged(request)
    assert same.composed.text == request.source_prompt
    _, text = lay_out(tiny, same, Grid(2, 8, 8))
    for half, prompt in (("uncond", ""), ("cond", request.source_prompt)):
        expected = tiny.embed([prompt]).vectors
        torch.testing.assert_close(text[half].vectors, expected, atol=1e-5, rtol=1e-5)

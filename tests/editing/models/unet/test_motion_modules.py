"""Motion modules beside diffusers' own, which normalise each frame alone, as in the
authors' code."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from damaged_models import reweighted, rewrite
from diffusers import (
    UNetMotionModel,
)
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from json_files import read_json
from made_models import loaded, randn
from made_motion import write_adapter
from safetensors.torch import load_file, save_file

from regrain.editing.errors import ModelError, RequestError
from regrain.editing.models.intervention import Intervention, hooked
from regrain.editing.models.unet import motion_modules
from regrain.editing.models.unet.motion_modules import (
    between_frames,
    load_motion,
    moving,
)
from regrain.editing.models.weights.motion import MotionFile

FRAMES = 3
NORM = "motion_modules.0.norm.weight"
pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture(scope="module")
def backbone(tiny_folder):
    return loaded(tiny_folder)


@pytest.fixture(scope="module")
def double(tiny_double):
    """The same in double precision, for equalities."""
    return tiny_double


@pytest.fixture(scope="module")
def folder(tmp_path_factory, backbone):
    path = tmp_path_factory.mktemp("motion")
    write_adapter(path, backbone.unet)
    return path


def rows(backbone):
    """Latents of two branches, and their texts."""
    # 16 x 16, so that groups of the deepest level have more than two numbers, whose
    # norm would be a sign.
    x = randn(2 * FRAMES, 4, 16, 16)
    return x.to(backbone.dtype), backbone.embed(["a cat", "a dog runs"])


def configured(folder, target, **said):
    """A copy of an adapter with other values in its configuration."""
    shutil.copytree(folder, target)
    rewrite(target / "config.json", **said)
    return str(target)


def authors_norm(network):
    """Diffusers' modules without their norm over all frames."""

    def frame_by_frame(norm, video):
        return torch.stack([norm(frame) for frame in video.unbind(2)], 2)

    for module in network.modules():
        if isinstance(module, AnimateDiffTransformer3D):
            module.norm.forward = partial(frame_by_frame, module.norm.forward)
    return network.eval()


@pytest.mark.full(but="False")
@pytest.mark.parametrize("middle", [True, False])
def test_a_call_equals_diffusers(middle, double, tmp_path, monkeypatch):
    backbone = double
    monkeypatch.setattr(motion_modules, "_PLACES", 7)  # attended at once
    adapter = write_adapter(tmp_path, backbone.unet, middle=middle)
    theirs = authors_norm(
        UNetMotionModel.from_unet2d(loaded(backbone.id).unet, adapter).double()
    )
    x, text = rows(backbone)
    motion = load_motion(str(tmp_path), backbone)
    modules = {
        name: {key: weight.double() for key, weight in own.items()}
        for name, own in motion.modules.items()
    }
    patch = between_frames(modules, motion.heads, FRAMES)
    vectors = text.vectors.double().repeat_interleave(FRAMES, 0)
    video = x.unflatten(0, (2, FRAMES)).movedim(1, 2)
    wanted = theirs(video, 401, vectors).sample.movedim(2, 1).flatten(0, 1)
    with patch(backbone.unet):
        found = backbone.unet(x, 401, vectors).sample
    assert (found - wanted).abs().max() < 1e-11 * wanted.abs().max()
    plain = backbone.unet(x, 401, vectors).sample  # nothing stays
    assert (found - plain).abs().max() > 1e-3


def test_scale_weighs_and_zero_is_the_model(folder, backbone):
    motion, (x, text) = load_motion(str(folder), backbone), rows(backbone)
    step = backbone.schedule.sampling(4)[1]
    assert moving(backbone, motion, 0.0) is backbone
    views = (backbone, moving(backbone, motion, 0.5), moving(backbone, motion))
    assert len({view.fingerprint for view in views}) == 3
    plain, half, whole = (view.predict(x, step, text)[1] for view in views)
    assert (plain - half).abs().max() > 1e-4
    assert (half - whole).abs().max() > 1e-4
    assert torch.equal(backbone.predict(x, step, text)[1], plain)


def test_other_weights_have_another_fingerprint(folder, backbone):
    motion = load_motion(str(folder), backbone)
    modules = {
        name: {key: 2 * weight for key, weight in own.items()}
        for name, own in motion.modules.items()
    }
    one, other = (
        moving(backbone, each) for each in (motion, replace(motion, modules=modules))
    )
    assert one.fingerprint != other.fingerprint


def test_heads_go_by_level_and_groups_and_betas_by_the_file(folder, backbone, tmp_path):
    levels = [2 << level for level, _ in enumerate(backbone.unet.down_blocks)]
    said = {"motion_num_attention_heads": levels, "motion_norm_num_groups": 16}
    said |= {"beta_schedule": "linear"}
    motion = load_motion(configured(folder, tmp_path / "own", **said), backbone)
    assert motion.groups == 16
    assert motion.heads["down_blocks.0.attentions.0"] == levels[0]
    assert motion.heads["up_blocks.0.resnets.0"] == levels[-1]
    betas = torch.linspace(0.00085, 0.012, 1000, dtype=torch.float64)
    alphas = torch.from_numpy(moving(backbone, motion).schedule.alphas_cumprod)
    torch.testing.assert_close(alphas, (1 - betas).cumprod(0))
    x, text = rows(backbone)
    step = backbone.schedule.sampling(4)[1]
    usual = load_motion(str(folder), backbone)
    answers = [
        moving(backbone, replace(usual, groups=groups)).predict(x, step, text)[1]
        for groups in (16, 32)
    ]
    assert not torch.equal(*answers)


def test_files_as_wide_as_stable_diffusion_were_trained_on_linear_betas(tmp_path):
    for width, betas in ((320, "linear"), (32, None)):
        save_file(
            {f"down_blocks.0.{NORM}": torch.zeros(width)}, tmp_path / "mm.safetensors"
        )
        assert MotionFile(str(tmp_path / "mm.safetensors")).betas == betas


def test_what_else_alters_a_call_stays(folder, backbone):
    seen, (x, text) = [], rows(backbone)
    patch = lambda model: hooked(  # noqa: E731
        [model.conv_out.register_forward_hook(lambda *_: seen.append(1))]
    )
    step, moved = (
        backbone.schedule.sampling(4)[1],
        moving(backbone, load_motion(str(folder), backbone)),
    )
    moved.predict(x, step, text, Intervention(patches=(patch,)))
    assert seen == [1]


def test_more_frames_than_positions_are_refused(tmp_path, backbone):
    write_adapter(tmp_path, backbone.unet, positions=2)
    moved = moving(backbone, load_motion(str(tmp_path), backbone))
    assert moved.window_frames(2, 8, 8) == 2
    x, text = rows(backbone)
    with pytest.raises(
        RequestError,
        match="3 frames are edited together, but the adapter has 2 positions",
    ):
        moved.predict(x, backbone.schedule.sampling(4)[0], text)


def authors(tensors):
    """The names that the authors' files have."""
    named = {}
    for name, tensor in tensors.items():
        for number in (0, 1):
            name = name.replace(f".attn{number + 1}.", f".attention_blocks.{number}.")
            name = name.replace(f".norm{number + 1}.", f".norms.{number}.")
        name = name.replace(".norm3.", ".ff_norm.")
        head, module, rest = name.partition(".motion_modules.")
        number, _, rest = rest.partition(".")
        named[f"{head}{module}{number}.temporal_transformer.{rest}"] = tensor
    block = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
    return named | {f"{block}.pos_encoder.pe": torch.zeros(1, 24, 32)}


def test_a_single_file_with_the_authors_names_is_the_same(folder, backbone, tmp_path):
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file(authors(tensors), tmp_path / "mm.safetensors")
    one, other = (
        load_motion(str(path), backbone)
        for path in (folder, tmp_path / "mm.safetensors")
    )
    assert one.modules.keys() == other.modules.keys()
    assert one.fingerprint == other.fingerprint
    assert (one.positions, other.positions) == (32, 24)


REFUSED = read_json(Path(__file__).with_name("motion_refused.json"))
"""By what is said, other weights of an adapter, or another configuration."""


@pytest.mark.parametrize("said", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(folder, backbone, tmp_path, said):
    weights = dict(REFUSED[said])
    other = configured(folder, tmp_path / "other", **weights.pop("config", {}))
    path = Path(other, "diffusion_pytorch_model.safetensors")
    save_file(reweighted(load_file(path), **weights), path)
    with pytest.raises(ModelError, match=f"^motion: .*{said}"):
        load_motion(other, backbone)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mm.ckpt", "is a pickle"),
        ("mm.safetensors", "is damaged"),
        ("nowhere", "was not found"),
    ],
)
def test_files_that_cannot_be_read_are_refused_in_one_line(
    backbone, tmp_path, name, said
):
    if name != "nowhere":
        (tmp_path / name).write_bytes(b"x" * 99)
    with pytest.raises(ModelError, match=f"^motion: .*{said}"):
        load_motion(str(tmp_path / name), backbone)


def test_a_motion_lora_is_told_by_its_name(backbone, tmp_path):
    """Both spellings: the authors', and that of diffusers."""
    place = "down_blocks.0.motion_modules.0"
    for name in (
        f"{place}.temporal_transformer.transformer_blocks.0.attention_blocks.0"
        ".processor.to_q_lora.down.weight",
        f"unet.{place}.transformer_blocks.0.attn1.to_q.lora_A.weight",
    ):
        save_file({name: torch.zeros(2, 8)}, path := tmp_path / "pan.safetensors")
        with pytest.raises(ModelError, match="^motion: .* is a motion LoRA, which"):
            load_motion(str(path), backbone)

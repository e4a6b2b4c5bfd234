"""What stands beside the weights of every part: scales of those of 8 bits, what changes
nothing, and what nobody knows."""

import json
from pathlib import Path

import pytest
import torch
from damaged_models import reweighted
from json_files import read_json
from made_models import loaded, write_control_net, write_sdxl, write_wan
from made_motion import write_adapter
from made_pictures import write_encoder, write_reader
from published_sam import write_sam2, write_sam3
from safetensors.torch import load_file, save_file
from single_files import EIGHT, in_eight_bits, load_file_of, original_layout

from regrain.editing.errors import ModelError
from regrain.editing.models.weights.motion import MotionFile
from regrain.editing.storage.beside_weights import read_marks, read_settled, settle
from regrain.editing.storage.safetensors_files import opened, read_weights


@pytest.fixture(scope="module")
def folders(tmp_path_factory, small, small_folder):
    """The folder of each kind of part."""
    place = tmp_path_factory.mktemp("parts")
    xl, wan = write_sdxl(place / "xl"), write_wan(place / "wan")
    return {
        "UNet2DConditionModel": small_folder / "unet",
        "AutoencoderKL": small_folder / "vae",
        "CLIPTextModel": small_folder / "text_encoder",
        "CLIPTextModelWithProjection": xl / "text_encoder_2",
        "WanTransformer3DModel": wan / "transformer",
        "AutoencoderKLWan": wan / "vae",
        "UMT5EncoderModel": wan / "text_encoder",
        "ControlNetModel": write_control_net(place / "net", small.unet, 0.1, (8, 8)),
        "CLIPVisionModelWithProjection": write_encoder(place) / "image_encoder",
        "CLIPModel": write_reader(place / "reader"),
        "Sam2VideoModel": write_sam2(place / "sam2"),
        "Sam3TrackerVideoModel": write_sam3(place / "sam3"),
    }


KINDS = [
    "UNet2DConditionModel",
    "AutoencoderKL",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "WanTransformer3DModel",
    "AutoencoderKLWan",
    "UMT5EncoderModel",
    "ControlNetModel",
    "CLIPVisionModelWithProjection",
    "CLIPModel",
    "Sam2VideoModel",
]
# Read by other names than their files have, which begin so.
RENAMED = {"Sam3TrackerVideoModel": "tracker_model."}


@pytest.fixture
def part(request, folders, tmp_path):
    """The weights of a part, and what reads others in their place."""
    import diffusers
    import transformers

    name = request.param
    library = diffusers if hasattr(diffusers, name) else transformers
    kind = getattr(library, name)
    (file,) = folders[name].glob("*.safetensors")

    def read(weights):
        (tmp_path / "config.json").write_bytes(
            (file.parent / "config.json").read_bytes()
        )
        save_file(weights, tmp_path / file.name, {"format": "pt"})
        return read_weights(kind, tmp_path, "mine", torch.float32)

    weights = load_file(file)
    if name == "CLIPTextModel":  # as it is published
        weights = {f"text_model.{name}": one for name, one in weights.items()}
    return weights, read


def assert_read(expected, state):
    for name, weight in expected.items():
        read = state.get(name, state.get(name.removeprefix("text_model.")))
        assert torch.equal(read, weight), name


@pytest.mark.full(but="UNet2DConditionModel")
@pytest.mark.parametrize("part", KINDS, indirect=True)
def test_scales_are_multiplied_in_every_part(part):
    weights, read = part
    found, expected = in_eight_bits(weights)
    idle = ("a.position_ids", "b.num_batches_tracked", "global_step", "model_ema.c")
    more = {name: torch.zeros(1) for name in idle}
    assert_read(expected, read(found | more).state_dict())


@pytest.mark.parametrize("part", RENAMED, indirect=True)
def test_scales_by_other_names_are_refused(part, request):
    weights, read = part
    start = RENAMED[request.node.callspec.params["part"]]
    names = [name for name in weights if name.endswith(".weight")]
    mark = next(name for name in names if name.startswith(start)) + "_scale"
    with pytest.raises(ModelError, match=mark.removeprefix(start)):
        read(weights | {mark: torch.ones(1)})


@pytest.mark.parametrize("part", [*KINDS, *RENAMED], indirect=True)
def test_what_no_part_takes_is_refused_by_its_name(part):
    weights, read = part
    with pytest.raises(ModelError, match=r"^model: 'mine': .* has 'extra\.weight', wh"):
        read(weights | {"extra.weight": torch.zeros(1)})


@pytest.mark.parametrize("part", ["CLIPTextModel"], indirect=True)
def test_weights_of_whole_numbers_are_refused(part):
    weights, read = part
    name = next(name for name in weights if name.endswith(".weight"))
    with pytest.raises(
        ModelError, match=rf"has '{name}', numbers that are not read \(I8\)"
    ):
        read(weights | {name: weights[name].to(torch.int8)})


@pytest.mark.parametrize("part", ["Sam2VideoModel"], indirect=True)
@pytest.mark.parametrize(
    "name",
    [
        "shared_image_embedding.positional_embedding",
        "prompt_encoder.shared_embedding.positional_embedding",
    ],
)
def test_nan_in_what_is_no_parameter_is_refused(part, name):
    weights, read = part
    weights[name] = weights[name].clone().fill_(torch.nan)
    with pytest.raises(ModelError, match=f"NaN or Inf in {name}"):
        read(weights)


HALVES = {
    "CLIPTextModel": "text_projection.weight",
    "CLIPTextModelWithProjection": "visual_projection.weight",
    "CLIPVisionModelWithProjection": "text_model.x.weight",
    "UMT5EncoderModel": "decoder.x.weight",
}


@pytest.mark.parametrize("part", HALVES, indirect=True)
def test_the_other_half_of_a_whole_model_is_left_out(part, request):
    weights, read = part
    read(weights | {HALVES[request.node.callspec.params["part"]]: torch.zeros(1)})


@pytest.fixture(scope="module")
def xl(folders):
    return loaded(folders["CLIPTextModelWithProjection"].parent)


IDLE = read_json(Path(__file__).with_name("idle.json"))
"""Names of weights that change nothing."""


@pytest.mark.full(but="sd1-")
@pytest.mark.parametrize(
    ("version", "place"),
    [
        ("sd1", ""),
        ("sd1", "model.diffusion_model.input_blocks.1.0."),
        ("sd1", "first_stage_model.decoder."),
        ("sd1", "cond_stage_model.transformer.text_model."),
        ("sdxl", "conditioner.embedders.0.transformer.text_model."),
        ("sdxl", "conditioner.embedders.1.model.transformer.resblocks.0."),
    ],
)
def test_what_no_part_of_a_single_file_takes_is_refused_by_its_name(
    tiny, xl, tmp_path, version, place
):
    weights = original_layout(xl if version == "sdxl" else tiny, version)
    more = {f"{place}extra.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match=f"has '{place}extra.weight', which nothing"):
        load_file_of(weights | more, tmp_path / "a.safetensors")


def test_a_single_file_of_8_bits_is_read(tiny, tmp_path):
    weights = original_layout(tiny)
    found, expected = in_eight_bits(weights)
    more = {name: torch.zeros(1) for name in IDLE}
    one = load_file_of(found | more, tmp_path / "a.safetensors")
    other = load_file_of(weights | expected, tmp_path / "b.safetensors")
    for name, module in one.parts.items():
        assert_read(other.parts[name].state_dict(), module.state_dict())


def test_a_motion_adapter_of_8_bits_is_read(small, tmp_path):
    weights = write_adapter(tmp_path / "mm", small.unet).state_dict()
    found, expected = in_eight_bits(weights)
    save_file(found, file := tmp_path / "mm.safetensors")
    read = MotionFile(str(file)).modules
    flat = {f"{one}.{name}": x for one, own in read.items() for name, x in own.items()}
    assert_read(expected, flat)


WEIGHT = torch.ones(64, 64).to(EIGHT)
REFUSED = read_json(Path(__file__).with_name("scales_refused.json"))
"""By their kind, what stands beside a matrix, "a.weight"."""


@pytest.mark.parametrize("form", REFUSED)
def test_other_scales_are_refused_by_their_names(form, tmp_path):
    marks = REFUSED[form]
    weights = reweighted({"a.weight": WEIGHT}, marks)
    save_file(weights, file := tmp_path / "a.safetensors")
    said = f"has '{[*marks][0]}', which "
    model = torch.nn.Module()
    model.a, model.b = torch.nn.Linear(64, 64), torch.nn.Linear(64, 1)
    with opened(file, "x", "y", "pt") as one:
        read = read_marks(one, "mine")
    with pytest.raises(ModelError, match=said):
        settle(model, read, marks.keys() - {"b.weight"}, "mine")
    if form != "another word":  # which is a weight like others there
        with pytest.raises(ModelError, match=said), opened(file, "x", "y", "pt") as one:
            read_settled(one, "mine")


@pytest.mark.parametrize("place", ["beside", "metadata"])
@pytest.mark.parametrize(
    "said", [{"format": "nvfp4"}, {"convrot": True}, {"format": "mxfp8"}]
)
def test_other_formats_are_refused(said, place, tmp_path):
    tensors = {"a.weight": WEIGHT, "a.weight_scale": torch.ones(1)}
    metadata = {}
    if place == "beside":
        mark = torch.tensor([*json.dumps(said).encode()], dtype=torch.uint8)
        tensors["a.comfy_quant"] = mark
    else:
        metadata["_quantization_metadata"] = json.dumps({"layers": {"a": said}})
    save_file(tensors, file := tmp_path / "a.safetensors", metadata)
    ((key, value),) = said.items()
    for read in (read_marks, read_settled):
        with (
            pytest.raises(ModelError, match=f"which says .*{key}.*{value}"),
            opened(file, "x", "y", "pt") as one,
        ):
            read(one, "mine")

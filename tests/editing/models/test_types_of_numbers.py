"""Files whose numbers are of types that few files have, at every place that reads
weights: read as the same numbers in single precision, or refused by name."""

from copy import deepcopy

import pytest
import torch
from made_models import write_control_net
from made_motion import write_adapter
from made_pictures import write_encoder, write_picture, write_picture_adapter
from safetensors.torch import load_file, save_file
from single_files import load_file_of, original_layout

from regrain.editing.errors import ModelError
from regrain.editing.models.files.location import PictureSpec
from regrain.editing.models.pictures.adapter import load_pictures
from regrain.editing.models.unet.control_net import load_control_net
from regrain.editing.models.unet.motion_modules import load_motion
from regrain.editing.models.weights.lora import add_loras
from regrain.editing.storage.safetensors_files import read_weights

QUERY = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
SMALL = ("float8_e4m3fn", "float8_e5m2")


def lora(small, place):
    file = place / "lora.safetensors"
    width = small.unet.get_submodule(QUERY.removeprefix("unet.")).in_features
    shapes = {"lora_A": (2, width), "lora_B": (width, 2)}
    for name, shape in shapes.items():
        shapes[name] = torch.linspace(-1, 1, 2 * width).reshape(shape)
    save_file({f"{QUERY}.{name}.weight": x for name, x in shapes.items()}, file)

    def read():
        unet = deepcopy(small.unet)
        add_loras([str(file)], {"unet": unet})
        return unet.state_dict()

    return file, read


def motion(small, place):
    folder = place / "mm"
    write_adapter(folder, small.unet)
    (file,) = folder.glob("*.safetensors")
    return file, lambda: {
        f"{module}.{name}": weight
        for module, own in load_motion(str(folder), small).modules.items()
        for name, weight in own.items()
    }


def picture(small, place):
    folder = write_encoder(place)
    file = write_picture_adapter(folder / "a.safetensors", small.unet, "plain")
    asked = PictureSpec("a", 0, write_picture(place / "a.png"), 1.0, "picture")

    def read():
        found = load_pictures(str(file), [asked], small)
        tokens = dict(enumerate(found.seen[0].tokens))
        return tokens | {name: torch.stack(kv) for name, kv in found.weights.items()}

    return file, read


def single(small, place):
    file = place / "one.safetensors"
    save_file(original_layout(small), file)
    return file, lambda: load_file_of(load_file(file), file).unet.state_dict()


def control(small, place):
    folder = write_control_net(place / "net", small.unet, 0.1, (8, 8))
    (file,) = folder.glob("*.safetensors")
    return file, lambda: load_control_net(str(folder), small)[0].state_dict()


def part(small, place):
    small.unet.save_pretrained(place / "unet")
    (file,) = (place / "unet").glob("*.safetensors")
    kind = type(small.unet)
    load = lambda: read_weights(kind, place / "unet", "mine", torch.float32)  # noqa: E731
    return file, lambda: load().state_dict()


KINDS = [lora, motion, picture, single, control, part]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def read_as(request, tmp_path, own_cache, tiny, small):
    """Reads a file of a kind with its matrices in other types of numbers."""
    model = tiny if request.param is single else small
    file, read = request.param(model, tmp_path)
    weights = load_file(file)

    def read_as(*kinds):
        changed = dict(weights)
        for name in weights:
            for kind in kinds if weights[name].ndim > 1 else ():
                given = getattr(torch, kind)
                # of numbers that are not read, bytes alone can be made
                packed = kind.startswith("float4")
                changed[name] = (
                    changed[name].to(torch.uint8)[..., ::2].contiguous().view(given)
                    if packed
                    else changed[name].to(given)
                )
        save_file(changed, file, {"format": "pt"})
        return read()

    return read_as


@pytest.mark.parametrize("kind", SMALL)
def test_numbers_of_8_bits_without_scales_are_read(read_as, kind):
    found = read_as(kind)
    expected = read_as(kind, "float32")
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name].float(), weight.float()), name
        assert weight.isfinite().all()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("float4_e2m1fn_x2", "numbers that are not read (F4)"),
        ("float8_e8m0fnu", "numbers that are not read (F8_E8M0)"),
        ("int8", "numbers that are not read (I8)"),
        ("complex64", "numbers that are not read (C64)"),
    ],
)
def test_numbers_that_are_not_read_are_refused_by_name(read_as, kind, said):
    with pytest.raises(ModelError) as caught:
        read_as(kind)
    assert said in caught.value.message
    assert "weight" in caught.value.message

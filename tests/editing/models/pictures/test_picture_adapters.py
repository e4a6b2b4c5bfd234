"""Pictures beside diffusers' own IP-Adapter."""

import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_models import reweighted, spoil
from diffusers.image_processor import IPAdapterMaskProcessor
from json_files import read_json
from made_clips import noise, off
from made_models import loaded, randn, write_small_model
from made_pictures import write_encoder, write_picture, write_picture_adapter
from PIL import Image
from pipelines import pipeline_of
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from regrain.editing.attention.batch import Batch
from regrain.editing.diffusion.schedule import advance
from regrain.editing.errors import ModelError, RequestError
from regrain.editing.media.clip import ArrayClip
from regrain.editing.media.images import shown
from regrain.editing.models.files.location import PictureSpec
from regrain.editing.models.pictures import picture_file
from regrain.editing.models.pictures.adapter import load_pictures
from regrain.editing.models.pictures.picture_file import PictureFile
from regrain.editing.params.sdedit import SDEditParams
from regrain.editing.recipe import looking
from regrain.editing.recipe.looking import Looking
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region

SCALES = (0.7, 1.2)
SIDE = 64
PROMPT = "a cat and a dog"
pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture(scope="module", params=[False, True], ids=["sd", "sdxl"])
def backbone(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "small"
    return loaded(write_small_model(place, sdxl=request.param))


@pytest.fixture(scope="module", params=["plain", "plus", "full"])
def adapter(request, tmp_path_factory, backbone):
    folder = write_encoder(tmp_path_factory.mktemp(request.param))
    return write_picture_adapter(
        folder / "adapter.safetensors", backbone.unet, request.param
    )


@pytest.fixture(scope="module")
def asked(tmp_path_factory, backbone):
    """One frame with two regions, each with its picture; edges inside cells."""
    folder = tmp_path_factory.mktemp("pictures")
    labels = np.zeros((1, SIDE, SIDE), np.uint8)
    labels[:, 7:40, 11:30] = 1
    labels[:, 21:62, 33:64] = 2
    frames = noise(1, SIDE, SIDE, 3, seed=1)
    regions = []
    for i, (name, scale) in enumerate(zip(("a fox", "a bear"), SCALES, strict=True)):
        picture = str(write_picture(folder / f"{i}.png", i))
        regions.append(
            Region(name, i + 1, name, margin=0, picture=picture, picture_scale=scale)
        )
    return EditRequest(
        ArrayClip(frames, 8),
        labels,
        tuple(regions),
        method="sdedit",
        model=backbone.id,
        size=SIDE,
    )


def pipeline(backbone, adapter):
    """Diffusers' pipeline of the same weights, with the adapter."""
    encoder = CLIPVisionModelWithProjection.from_pretrained(
        adapter.parent / "image_encoder"
    )
    processor = CLIPImageProcessor(size=28, crop_size=28)
    pipe = pipeline_of(
        Path(backbone.id), image_encoder=encoder, feature_extractor=processor
    )
    pipe.load_ip_adapter(
        str(adapter.parent), subfolder="", weight_name=adapter.name, image_encoder_folder=None,
        local_files_only=True,
    )  # fmt: skip
    pipe.set_ip_adapter_scale([list(SCALES)])
    return pipe


def theirs(request):
    """Diffusers' rule for masks, in place of ours."""
    areas = [
        np.asarray(request.labels[0]) == region.label for region in request.regions
    ]
    masks = [Image.fromarray(255 * area.astype(np.uint8)) for area in areas]
    masks = [
        IPAdapterMaskProcessor()
        .preprocess(masks, height=SIDE, width=SIDE)
        .movedim(1, 0)
    ]

    def cover(label, size):
        tokens = size[0] * size[1]
        return IPAdapterMaskProcessor.downsample(masks[0][:, label - 1], 1, tokens, 1)[
            ..., 0
        ]

    return masks, cover


@pytest.mark.full(but="sd-full")
def test_a_short_sampling_equals_the_pipeline(backbone, adapter, asked, monkeypatch):
    masks, cover = theirs(asked)
    monkeypatch.setattr(looking, "covered", lambda *_: cover)
    pictures = load_pictures(str(adapter), list(asked.pictures), backbone)
    view = Looking(backbone, pictures, asked, SDEditParams())
    pipe = pipeline(backbone, adapter)
    images = [[Image.open(r.picture) for r in asked.regions]]
    embeds = pipe.prepare_ip_adapter_image_embeds(
        images, None, torch.device("cpu"), 1, True
    )
    x = randn(1, 4, 32, 32)
    wanted = pipe(
        PROMPT,
        negative_prompt="ugly",
        ip_adapter_image_embeds=embeds,
        cross_attention_kwargs={"ip_adapter_masks": masks},
        height=SIDE,
        width=SIDE,
        latents=x.clone(),
        guidance_scale=3.0,
        num_inference_steps=4,
        output_type="latent",
    ).images
    now = sampled(view, x)
    assert (now - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert (now - sampled(backbone, x)).abs().max() > 1e-2


def sampled(model, x):
    uncond, cond = model.embed(["ugly", PROMPT])
    batch = Batch.of(1, edits=1)
    for step in model.schedule.sampling(4):
        answer = model.predict(
            torch.cat([x, x]), step, batch.texts({"uncond": uncond, "cond": cond})
        )
        x = advance(*batch.guide(answer, 3.0), step)
    return x


def spec(folder, seed=0, size=(28, 28)):
    """One picture that is asked for."""
    return PictureSpec(
        "", 0, write_picture(folder / f"{seed}.png", seed, size), None, "picture"
    )


def test_the_reader_of_the_built_in_model_needs_no_encoder(tiny, tmp_path):
    path = tmp_path / "drawn.safetensors"
    write_picture_adapter(path, tiny.unet, "drawn", {"scale": "0.9"})
    specs = [spec(tmp_path, seed, (40, 20)) for seed in (0, 1)]
    one, other = load_pictures(str(path), specs, tiny).seen
    width = tiny.unet.config.cross_attention_dim
    assert (one.scale, one.tokens[0].shape) == (0.9, (1, 6, width))
    assert torch.equal(one.tokens[1], other.tokens[1])
    for unlike in (other.tokens[0], one.tokens[1]):
        assert (one.tokens[0] - unlike).abs().max() > 1e-3


def refused(path, tiny, said):
    with pytest.raises(ModelError, match=said) as caught:
        load_pictures(str(path), [spec(path.parent)], tiny)
    assert caught.value.field == "picture_adapter"


REFUSED = read_json(Path(__file__).with_name("refused.json"))
"""By what is said, other weights of an adapter."""


@pytest.mark.parametrize("said", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(tiny, tmp_path, said):
    path = write_encoder(tmp_path) / "adapter.safetensors"
    weights = load_file(write_picture_adapter(path, tiny.unet, "plain"))
    save_file(reweighted(weights, **REFUSED[said]), path)
    refused(path, tiny, said)


def test_an_adapter_of_narrower_text_is_refused(tiny, tmp_path):
    path = write_encoder(tmp_path) / "adapter.safetensors"
    weights = load_file(write_picture_adapter(path, tiny.unet, "plain"))
    for name in fnmatch.filter(weights, "ip_adapter*"):
        weights[name] = weights[name][:, :8].contiguous()
    save_file(weights, path)
    refused(path, tiny, "text of 8 numbers, the model 32")


def test_an_encoder_that_is_no_number_is_refused(tiny, tmp_path, own_cache):
    path = write_encoder(tmp_path) / "adapter.safetensors"
    write_picture_adapter(path, tiny.unet, "plain")
    spoil(tmp_path / "image_encoder" / "model.safetensors")
    refused(path, tiny, "image_encoder/ has NaN")


@pytest.fixture
def shelf(tiny, tmp_path):
    """Adapters in two folders, and their encoder in one of them."""
    place = tmp_path / "shelf"
    write_encoder(place / "models")
    for folder in ("models", "sdxl_models"):
        (place / folder).mkdir(exist_ok=True)
        file = place / folder / "ip-adapter_sd15.safetensors"
        write_picture_adapter(file, tiny.unet, "plain")
    return place


@pytest.mark.parametrize(
    "id", ["models", "sdxl_models", "models/ip-adapter_sd15", "SHELF/models"]
)
def test_adapters_are_found_in_folders(shelf, monkeypatch, id):
    """The encoder may stand beside the weights, or in the folder beside theirs."""
    monkeypatch.setenv("REGRAIN_MODELS", str(shelf))
    found = PictureFile(id.replace("SHELF", str(shelf)))
    assert found.encoder == shelf / "models" / "image_encoder"


@pytest.mark.parametrize("file", ["", "/models/ip-adapter_sd15.safetensors"])
def test_adapters_are_fetched_from_the_hub(shelf, monkeypatch, file):
    fetched = []

    def download(id, names, _):
        fetched.append((id, *names))
        return str(shelf)

    monkeypatch.setattr(picture_file, "download", download)
    found = PictureFile(f"h94/IP-Adapter{file}")
    assert found.encoder == shelf / "models" / "image_encoder"
    names = ("models/ip-adapter_sd15.safetensors", "*image_encoder/config.json")
    assert fetched == [("h94/IP-Adapter", name) for name in names]


def test_one_of_several_adapters_is_named(shelf):
    (shelf / "models" / "two.safetensors").touch()
    with pytest.raises(ModelError, match="has several: .*Name one, as FOLDER/FILE"):
        PictureFile(str(shelf / "models"))


def test_a_video_transformer_sees_no_pictures(wan):
    with pytest.raises(
        ModelError,
        match="^picture_adapter: .* cannot see pictures. Use a Stable Diffusion",
    ):
        load_pictures("any", [], wan)


GREY = (128, 128, 128)


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("RGBA", (255, 0, 0, 0), GREY), ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 0x8080, GREY), ("L", 128, GREY), ("P", 0, (0, 0, 0)),
    ],
)  # fmt: skip
def test_pictures_of_every_mode_are_shown_whole_in_a_grey_square(
    tmp_path, mode, colour, seen
):
    path = tmp_path / f"a.{'tif' if mode in ('CMYK', 'I;16') else 'png'}"
    Image.new(mode, (40, 20), colour).save(path)
    found = shown(path, 20, "picture")
    assert off(found[10, 10], seen).max() <= 1
    assert (found[0] == 128).all()  # above a wide picture


def test_pictures_are_upright_and_animated_ones_are_still(tmp_path):
    image, notes = Image.new("RGB", (40, 20)), []
    image.paste((255, 255, 255), (0, 0, 20, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # turned to the right
    image.save(tmp_path / "a.png", exif=exif)
    found = shown(tmp_path / "a.png", 20, "picture")
    assert (found[5, 10, 0], found[15, 10, 0]) == (255, 0)
    more = [Image.new("RGB", (40, 20), "red")]
    image.save(tmp_path / "a.gif", save_all=True, append_images=more)
    assert shown(tmp_path / "a.gif", 40, "picture", notes.append)[20, 10].min() > 250
    assert notes == ["'a.gif' is animated; its first frame is used."]


def test_what_is_no_picture_or_too_large_is_refused(tmp_path):
    (tmp_path / "b.png").write_bytes(b"x" * 99)
    Image.new("1", (10000, 6000)).save(tmp_path / "c.png")
    refused = {"b.png": "is not a readable image", "c.png": "10000 x 6000 pixels"}
    for name, said in refused.items():
        with pytest.raises(RequestError, match=f"^regions.cat.picture: .*{said}"):
            shown(tmp_path / name, 20, "regions.cat.picture")

"""Pictures beside diffusers' own IP-Adapter."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import write_sdxl
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.image_processor import IPAdapterMaskProcessor
from made_pictures import write_encoder, write_picture, write_picture_adapter
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from regrain.editing.diffusion.schedule import advance
from regrain.editing.attention.batch import Batch
from regrain.editing.media.clip import ArrayClip
from regrain.editing.models.load import load_backbone
from regrain.editing.models.pictures.adapter import load_pictures
from regrain.editing.params.sdedit import SDEditParams
from regrain.editing.recipe import looking
from regrain.editing.recipe.looking import Looking
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region

SCALES = (0.7, 1.2)
PROMPT = "a cat and a dog"


@pytest.fixture(scope="module", params=[False, True], ids=["sd", "sdxl"])
def backbone(request, tmp_path_factory, tiny_folder):
    folder = tiny_folder
    if request.param:
        folder = write_sdxl(tmp_path_factory.mktemp("sdxl"))
    return load_backbone(str(folder))


@pytest.fixture(scope="module", params=["plain", "plus", "full"])
def adapter(request, tmp_path_factory, backbone):
    folder = write_encoder(tmp_path_factory.mktemp(request.param))
    return write_picture_adapter(folder / "adapter.safetensors", backbone.unet, request.param)


@pytest.fixture(scope="module")
def asked(tmp_path_factory, backbone):
    """One frame with two regions, each with its picture; edges inside cells."""
    folder = tmp_path_factory.mktemp("pictures")
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[:, 3:40, 5:30], labels[:, 20:61, 33:64] = 1, 2
    frames = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    regions = tuple(
        Region(name, i + 1, name, margin=0, picture=str(write_picture(folder / f"{i}.png", i)), picture_scale=s)
        for i, (name, s) in enumerate(zip(("a fox", "a bear"), SCALES, strict=True))
    )
    return EditRequest(ArrayClip(frames, 8), labels, regions, method="sdedit", model=backbone.id)


def pipeline(backbone, adapter):
    """Diffusers' pipeline of the same weights, with the adapter."""
    fresh = load_backbone(str(backbone.id), dtype=torch.float32)
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(backbone.id, subfolder="unet")
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    parts = {"vae": fresh.vae, "text_encoder": fresh.text_encoder, "tokenizer": fresh.tokenizer, "unet": unet}
    parts |= {"scheduler": scheduler, "feature_extractor": CLIPImageProcessor(size=28, crop_size=28)}
    parts["image_encoder"] = CLIPVisionModelWithProjection.from_pretrained(adapter.parent / "image_encoder")
    if unet.config.addition_embed_type:
        from transformers import CLIPTokenizer

        second = CLIPTokenizer.from_pretrained(backbone.id, subfolder="tokenizer_2")
        more = {"text_encoder_2": fresh.text_encoder_2, "tokenizer_2": second}
        pipe = StableDiffusionXLPipeline(**parts, **more, add_watermarker=False)
    else:
        pipe = StableDiffusionPipeline(
            **parts, safety_checker=None, requires_safety_checker=False
        )
    pipe.load_ip_adapter(
        str(adapter.parent), subfolder="", weight_name=adapter.name, image_encoder_folder=None,
        local_files_only=True,
    )  # fmt: skip
    pipe.set_ip_adapter_scale([list(SCALES)])
    pipe.set_progress_bar_config(disable=True)
    return pipe


def theirs(request):
    """Diffusers' rule for masks, in place of ours."""
    masks = [Image.fromarray(255 * (np.asarray(request.labels[0]) == r.label).astype(np.uint8)) for r in request.regions]
    masks = IPAdapterMaskProcessor().preprocess(masks, height=64, width=64)
    masks = [masks.reshape(1, masks.shape[0], masks.shape[2], masks.shape[3])]

    def cover(label, size):
        tokens = size[0] * size[1]
        return IPAdapterMaskProcessor.downsample(masks[0][:, label - 1], 1, tokens, 1)[..., 0]

    return masks, cover


@torch.no_grad()
def test_tokens_a_call_and_a_short_sampling_equal_the_pipeline(backbone, adapter, asked, monkeypatch):
    masks, cover = theirs(asked)
    monkeypatch.setattr(looking, "covered", lambda _: cover)
    pictures = load_pictures(str(adapter), list(asked.pictures), backbone)
    view = Looking(backbone, pictures, asked, SDEditParams())
    pipe = pipeline(backbone, adapter)
    images = [[Image.open(r.picture) for r in asked.regions]]
    embeds = pipe.prepare_ip_adapter_image_embeds(images, None, torch.device("cpu"), 1, True)
    tokens = pipe.unet.encoder_hid_proj([embeds[0]])[0]
    for half in (0, 1):
        found = torch.stack([seen.tokens[half == 0][0] for seen in pictures.seen])
        assert (found - tokens[half]).abs().max() < 1e-5 * tokens.abs().max()

    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    how = {"num_inference_steps": 4, "guidance_scale": 3.0, "output_type": "latent", "height": 64, "width": 64}
    how |= {"cross_attention_kwargs": {"ip_adapter_masks": masks}, "negative_prompt": "ugly"}
    for steps in (1, 4):
        how["num_inference_steps"] = steps
        wanted = pipe(PROMPT, latents=x.clone(), ip_adapter_image_embeds=embeds, **how).images
        uncond, cond = backbone.embed(["ugly", PROMPT])
        batch, now = Batch.of(1, edits=1), x
        for step in view.schedule.sampling(steps):
            rows = torch.cat([now, now])
            answer = view.predict(rows, step, batch.texts({"uncond": uncond, "cond": cond}))
            now = advance(*batch.guide(answer, 3.0), step)
        assert (now - wanted).abs().max() < 1e-5 * wanted.abs().max()
    without = pipe_without(backbone, uncond, cond, x)
    assert (now - without).abs().max() > 1e-2


def pipe_without(backbone, uncond, cond, x):
    batch = Batch.of(1, edits=1)
    for step in backbone.schedule.sampling(4):
        answer = backbone.predict(torch.cat([x, x]), step, batch.texts({"uncond": uncond, "cond": cond}))
        x = advance(*batch.guide(answer, 3.0), step)
    return x

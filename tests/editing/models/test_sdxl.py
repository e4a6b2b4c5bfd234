"""Stable Diffusion XL on narrow random weights, beside diffusers' own pipeline."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import write_control_net, write_sdxl
from safetensors.torch import load_file, save_file
from test_stable_diffusion import NAMES, assert_same, load_file_of, openclip, unet_key, vae_key

from regrain.editing.cli.doctor import examine
from regrain.editing.diffusion.schedule import advance
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.errors import ModelError
from regrain.editing.models.control_net import ControlNets
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.load import load_backbone
from regrain.editing.models.loading.location import find
from regrain.editing.models.loading.offers import STABLE_DIFFUSION, family_of
from regrain.editing.params.written import ControlSpec

PROMPTS = ["a cat on a mat", "", "a red fox"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sdxl(tmp_path_factory.mktemp("models") / "sdxl")


@pytest.fixture(scope="module")
def model(folder):
    return load_backbone(str(folder))


@pytest.fixture(scope="module")
def pipeline(folder):
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    kinds = {
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
        "tokenizer": CLIPTokenizer,
        "tokenizer_2": CLIPTokenizer,
        "unet": UNet2DConditionModel,
        "scheduler": DDIMScheduler,
    }
    pipe = StableDiffusionXLPipeline(
        **{part: kind.from_pretrained(folder / part) for part, kind in kinds.items()}
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def latents():
    return torch.randn(3, 4, 8, 16, generator=torch.Generator().manual_seed(0))


def test_vectors_and_pooled_text_are_the_pipelines(model, pipeline):
    text = model.embed(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        negative = prompt or None
        with torch.no_grad():
            _, vectors, _, pooled = pipeline.encode_prompt(
                "a", negative_prompt=negative, do_classifier_free_guidance=True, num_images_per_prompt=1
            )
        torch.testing.assert_close(text.vectors[row : row + 1], vectors)
        torch.testing.assert_close(text.pooled[row : row + 1], pooled)
    assert text.vectors[1].abs().max() == 0 < text.vectors[0].abs().min()
    assert text[2].pooled.equal(text.pooled[2:])


def test_padding_and_an_empty_prompt_are_as_the_folder_says(folder, tmp_path, pipeline, monkeypatch):
    copy = shutil.copytree(folder, tmp_path / "other")
    (copy / "model_index.json").write_text('{"force_zeros_for_empty_prompt": false}')
    other = type(pipeline.tokenizer_2).from_pretrained(folder / "tokenizer_2", pad_token="a")
    other.save_pretrained(copy / "tokenizer_2")
    monkeypatch.setattr(pipeline, "tokenizer_2", other)
    text = load_backbone(str(copy)).embed([""])
    with torch.no_grad():
        vectors, _, pooled, _ = pipeline.encode_prompt("", do_classifier_free_guidance=False)
    torch.testing.assert_close((text.vectors, text.pooled), (vectors, pooled))


def test_a_call_and_a_sampled_picture_are_the_pipelines(model, pipeline, latents):
    text = model.embed(PROMPTS)
    step = model.schedule.sampling(4)[1]
    sizes = torch.tensor([[64, 128, 0, 0, 64, 128]] * 3)
    added = {"text_embeds": text.pooled, "time_ids": sizes}
    with torch.no_grad():
        eps = pipeline.unet(latents, step.t, text.vectors, added_cond_kwargs=added).sample
    torch.testing.assert_close(model.predict(latents, step, text)[1], eps)
    start = latents[:1]
    picture = pipeline(
        PROMPTS[0], height=64, width=128, latents=start.clone(), guidance_scale=5.0, num_inference_steps=4,
        output_type="latent",
    ).images  # fmt: skip
    x, both = start, model.embed(["", PROMPTS[0]])
    for step in model.schedule.sampling(4):
        with torch.no_grad():
            x0, eps = model.predict(x.repeat(2, 1, 1, 1), step, both)
        eps = eps[:1] + 5.0 * (eps[1:] - eps[:1])
        x0 = (x - step.noise * eps) / step.signal
        x = advance(x0, eps, step)
    torch.testing.assert_close(x, picture, atol=1e-4, rtol=1e-4)


def test_rows_of_frames_read_the_text_of_their_branch(model, latents):
    text = model.embed(PROMPTS[:2])
    step = model.schedule.sampling(4)[0]
    with torch.no_grad():
        both = model.predict(latents.repeat(2, 1, 1, 1), step, text)[1]
        alone = [model.predict(latents, step, text[row])[1] for row in range(2)]
    torch.testing.assert_close(both, torch.cat(alone))
    with pytest.raises(ValueError, match="pooled"):
        model.predict(latents, step, PromptEmbedding(("",), text.vectors[:1], (2,), ((),), ((),)))


def test_facts(model):
    assert (model.size, model.multiple, model.coarsest) == (64, 32, 4)
    finest = {site.block for site in model.sites if site.finest}
    assert finest == {"down_blocks.1", "up_blocks.1"}
    assert {site.stride[1] for site in model.sites} == {2, 4}
    assert model.decode(model.encode(np.zeros((1, 64, 64, 3), np.uint8))).shape == (1, 64, 64, 3)


def test_all_weights_count_in_the_fingerprint(folder, model, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "other")
    path = copy / "text_encoder_2" / "model.safetensors"
    weights = load_file(path)
    weights["text_projection.weight"] += 1
    save_file(weights, path, {"format": "pt"})
    assert load_backbone(str(copy)).fingerprint != model.fingerprint


def original_layout(model):
    """The model's weights as SDXL's own files have them."""
    names = {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
    names |= {f"up_blocks.{b}.upsamplers.0": f"output_blocks.{3 * b + 2}.2" for b in range(3)}
    out = {}
    for key, value in model.unet.state_dict().items():
        own = next((name for name in names if key.startswith(name)), None)
        known = names[own] + key.removeprefix(own) if own else unet_key(key)
        out["model.diffusion_model." + known] = value
    for key, value in model.vae.state_dict().items():
        name = vae_key(key)
        is_attention_weight = ".attn_1." in name and value.ndim == 2
        out["first_stage_model." + name] = value[:, :, None, None] if is_attention_weight else value
    first, second = (
        {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}
        for encoder in (model.text_encoder, model.text_encoder_2)
    )
    out |= {f"conditioner.embedders.0.transformer.text_model.{key}": value for key, value in first.items()}
    projection = second.pop("text_projection.weight")
    second = openclip(second) | {"text_projection": projection.T}
    out |= {f"conditioner.embedders.1.model.{key}": value for key, value in second.items()}
    return {key: value.contiguous().clone() for key, value in out.items()}


def test_a_single_file_equals_its_folder(model, tmp_path, latents):
    read = load_file_of(original_layout(model), tmp_path / "xl.safetensors")
    assert_same(read, model)
    ours, theirs = read.text_encoder_2.state_dict(), model.text_encoder_2.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert (read.size, read.prediction) == (1024, "epsilon")
    step = model.schedule.sampling(4)[0]
    with torch.no_grad():
        answers = [one.predict(latents, step, one.embed(PROMPTS))[1] for one in (read, model)]
    torch.testing.assert_close(*answers)


@pytest.mark.parametrize(
    ("change", "title"),
    [
        (
            lambda f: (f / "model_index.json").write_text('{"text_encoder": [null, null]}'),
            "the refiner of SDXL",
        ),
        (
            lambda f: edit(f / "unet" / "config.json", '"in_channels": 4', '"in_channels": 9'),
            "9 input channels",
        ),
        (lambda f: edit(f / "unet" / "config.json", '"text_time"', '"image"'), "embeddings of 'image'"),
        (
            lambda f: edit(
                f / "scheduler" / "scheduler_config.json", "{", '{"timestep_spacing": "trailing",'
            ),
            "SDXL Turbo or Lightning",
        ),
    ],
)
def test_what_cannot_serve_is_told_apart(folder, tmp_path, change, title):
    copy = shutil.copytree(folder, tmp_path / "other")
    change(copy)
    family = family_of(find(str(copy)))
    assert title in family.title
    assert family.offers == (STABLE_DIFFUSION - {"inversion"} if "Turbo" in title else frozenset())


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f / "text_encoder_2"), "has no folder text_encoder_2/"),
        (lambda f: shutil.rmtree(f / "tokenizer_2"), "has no folder tokenizer_2/"),
        (lambda f: (f / "tokenizer_2" / "tokenizer.json").write_text("x"), "tokenizer_2/ cannot be loaded"),
        (
            lambda f: edit(f / "text_encoder_2" / "config.json", '"vocab_size": 49408', '"vocab_size": 0'),
            "vocab_size",
        ),
        (lambda f: widen(f / "text_encoder_2"), "do not fit together"),
    ],
)
def test_damaged_folders_are_one_line(folder, tmp_path, change, message):
    copy = shutil.copytree(folder, tmp_path / "other")
    change(copy)
    with pytest.raises(ModelError, match=message):
        load_backbone(str(copy))


def widen(folder):
    """Another width of the pooled text than the UNet takes."""
    path = folder / "model.safetensors"
    weights = {k: v.repeat(2, 1) if "projection" in k else v for k, v in load_file(path).items()}
    save_file(weights, path, {"format": "pt"})
    edit(folder / "config.json", '"projection_dim": 24', '"projection_dim": 48')


def test_a_refiner_file_is_named(tmp_path):
    key = "conditioner.embedders.0.model.token_embedding.weight"
    save_file({key: torch.zeros(1)}, tmp_path / "refiner.safetensors")
    assert family_of(find(str(tmp_path / "refiner.safetensors"))).title == "the refiner of SDXL"
    with pytest.raises(ModelError, match="refiner of SDXL"):
        load_backbone(str(tmp_path / "refiner.safetensors"))


def test_doctor_names_the_family_and_what_fits(folder, monkeypatch):
    monkeypatch.setenv("REGRAIN_MODELS", str(folder.parent))
    shown = dict(examine())
    assert "sdxl (SDXL)" in shown["models"]
    assert shown["SDXL at 1024 px"].endswith("(estimate)")


def kohya(name):
    """The name that kohya's trainers give to a layer of SDXL's UNet."""
    ours = next(known for known in NAMES if f"{name}.".startswith(f"{known}."))
    rest = name.removeprefix(ours)
    for part, theirs in {
        "conv1": "in_layers.2",
        "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1",
    }.items():
        rest = rest.replace(part, theirs) if ".resnets." in ours else rest
    return "lora_unet_" + (NAMES[ours] + rest).replace(".", "_")


LAYERS = {
    "unet": [
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.0.downsamplers.0.conv",
        "down_blocks.2.resnets.1.conv2",
        "mid_block.attentions.0.transformer_blocks.1.attn2.to_k",
        "mid_block.resnets.1.time_emb_proj",
        "up_blocks.0.attentions.2.proj_in",
        "up_blocks.1.upsamplers.0.conv",
        "up_blocks.2.resnets.0.conv1",
    ],
    "text_encoder": ["text_model.encoder.layers.0.self_attn.q_proj"],
    "text_encoder_2": ["text_model.encoder.layers.2.mlp.fc1"],
}


# What peft's configuration of each part says, as diffusers writes it into the file; rank 2.
PEFT = {"unet.r": 2, "unet.lora_alpha": 1, "unet.alpha_pattern": {"down_blocks.2.resnets.1.conv2": 6}}
PEFT |= {"text_encoder.lora_alpha": 4, "text_encoder_2.lora_alpha": 4, "text_encoder_2.use_rslora": True}
SCALES = {
    "unet": lambda name: 3 if name in PEFT["unet.alpha_pattern"] else 0.5,
    "text_encoder": lambda _: 2,
    "text_encoder_2": lambda _: 4 / 2**0.5,
}


@pytest.mark.parametrize("spelling", ["diffusers", "peft", "kohya"])
def test_loras_of_all_spellings_change_the_same_weights(folder, model, tmp_path, spelling):
    fresh, tensors, expected = torch.Generator().manual_seed(0), {}, {}
    for part, names in LAYERS.items():
        for name in names:
            outer = getattr(model, part)
            inside = (
                name if hasattr(outer, "text_model") or part == "unet" else name.removeprefix("text_model.")
            )
            weight = outer.get_parameter(f"{inside}.weight")
            down = torch.randn(2, *weight.shape[1:], generator=fresh)
            up = torch.randn(len(weight), 2, *[1] * (weight.ndim - 2), generator=fresh)
            if spelling == "kohya":
                short = {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
                stem = kohya(name) if part == "unet" else short[part] + name.replace(".", "_")
                keys = [f"{stem}.lora_down.weight", f"{stem}.lora_up.weight"]
            elif spelling == "peft":
                keys = [f"{part}.{name}.lora_A.weight", f"{part}.{name}.lora_B.weight"]
            else:
                end = "lora" if part == "unet" else "lora_linear_layer"
                keys = [f"{part}.{name}.{end}.down.weight", f"{part}.{name}.{end}.up.weight"]
            tensors |= dict(zip(keys, (down, up), strict=True))
            delta = (up.flatten(1) @ down.flatten(1)).view_as(weight)
            scale = SCALES[part](name) if spelling == "peft" else 1
            expected[part, inside] = weight + 0.5 * scale * delta
    facts = {"lora_adapter_metadata": json.dumps(PEFT)} if spelling == "peft" else None
    save_file(tensors, tmp_path / "lora.safetensors", facts)
    changed = load_backbone(str(folder), [f"{tmp_path / 'lora.safetensors'}@0.5"])
    for (part, name), weight in expected.items():
        torch.testing.assert_close(getattr(changed, part).get_parameter(f"{name}.weight").data, weight)


def test_a_control_network_is_told_pooled_text_and_sizes(model, tmp_path, latents):
    from diffusers import ControlNetModel

    place = write_control_net(tmp_path / "net", model.unet, 0.02)
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 128, 3), dtype=np.uint8)
    nets = ControlNets([ControlSpec(kind="canny", model=str(place), weight=0.7)], frames, model)
    text, step = model.embed(PROMPTS), model.schedule.sampling(4)[1]
    with torch.no_grad():
        ours = model.predict(latents, step, text, Intervention(control=nets.reading(text)))[1]
        net = ControlNetModel.from_pretrained(place)
        hint = torch.from_numpy(nets.maps).movedim(-1, 1).float() / 255
        added = {"text_embeds": text.pooled, "time_ids": torch.tensor([[64, 128, 0, 0, 64, 128]] * 3)}
        down, middle = net(
            latents,
            step.t,
            text.vectors,
            hint,
            conditioning_scale=0.7,
            added_cond_kwargs=added,
            return_dict=False,
        )
        theirs = model.unet(
            latents, step.t, text.vectors, added_cond_kwargs=added,
            down_block_additional_residuals=down, mid_block_additional_residual=middle,
        ).sample  # fmt: skip
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours, model.predict(latents, step, text)[1], atol=1e-3)


def test_shipped_configurations_are_the_real_sizes():
    """On the meta device: parameter counts of SDXL base 1.0."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from regrain.editing.models.loading.single_file import CHECKPOINTS

    build = {
        "unet": UNet2DConditionModel.from_config,
        "vae": AutoencoderKL.from_config,
        "text_encoder": lambda config: CLIPTextModel(CLIPTextConfig(**config)),
        "text_encoder_2": lambda config: CLIPTextModelWithProjection(CLIPTextConfig(**config)),
    }
    with torch.device("meta"):
        parts = [
            make(json.loads((CHECKPOINTS / "sdxl" / part / "config.json").read_text()))
            for part, make in build.items()
        ]
    counts = [sum(p.numel() for p in part.parameters()) for part in parts]
    assert counts == [2_567_463_684, 83_653_863, 123_060_480, 694_659_840]

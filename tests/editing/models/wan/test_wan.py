"""Wan: its layers against the library's own, its time axis, its prompts, and what is
refused."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from damaged_models import refusal, rewrite, spoil
from diffusers.pipelines.wan import pipeline_wan
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from json_files import write_json
from made_clips import noise
from made_models import aligned, loaded, randn
from safetensors.torch import load_file, save_file
from transformers import T5TokenizerFast

from regrain.editing.attention.layers import Grid, plain
from regrain.editing.errors import DivergedError, ModelError, PromptError, ResourceError
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.wan import layers
from regrain.editing.models.wan.text import CleanText
from regrain.editing.storage.ready import check_vocabulary

STEP = 7  # of 25
TEXT = "text_encoder/config.json"
pytestmark = pytest.mark.usefixtures("no_grad")


def step_of(model):
    return model.schedule.sampling(25)[STEP]


def frames_of(count):
    return noise(count, 16, 24, 3, seed=count)


@pytest.fixture
def latents():
    return randn(6, 4, 4, 6)


def stock(folder, model, latents, text):
    """(x0, eps) by diffusers' own transformer with its own processors."""
    from diffusers import WanTransformer3DModel

    network = aligned(WanTransformer3DModel.from_pretrained(folder / "transformer"))
    step = step_of(model)
    rows = latents.unflatten(0, (len(text), -1)).transpose(1, 2)
    (v,) = network(
        rows, torch.full((len(text),), float(step.t)), text.vectors, return_dict=False
    )
    v = v.transpose(1, 2).flatten(0, 1)
    return latents - step.noise * v, latents + step.signal * v


def test_a_call_is_the_librarys_bit_for_bit(wan, wan_folder, latents):
    text = wan.embed(["a cat on the grass", "a fox"])
    expected = stock(wan_folder, wan, latents, text)
    seen = []

    def attend(q, k, v, site):
        seen.append((site.name, site.kind, q.shape[2], k.shape[2]))
        return plain(q, k, v, site)

    for change in (Intervention(), Intervention(attend)):
        found = wan.predict(latents, step_of(wan), text, change)
        assert all(map(torch.equal, found, expected))
    # 3 latents of 2 x 3 tokens; all 512 tokens of a prompt.
    sizes = {"attn1": ("self", 18, 18), "attn2": ("cross", 18, 512)}
    assert seen == [
        (f"blocks.{b}.{name}", *sizes[name]) for b in (0, 1) for name in sizes
    ]
    assert [site.name for site in wan.sites] == [name for name, *_ in seen]
    assert isinstance(wan, Backbone)


def test_a_scheduler_says_how_far_steps_are_shifted(wan, wan_folder, tmp_path):
    folder = shutil.copytree(wan_folder, tmp_path / "other")
    (folder / "scheduler" / "scheduler_config.json").write_text('{"flow_shift": 5.0}')
    found = loaded(folder)
    assert (wan.schedule.shift, found.schedule.shift) == (3.0, 5.0)
    assert found.defaults["flow_regions"] == {"shift": 5.0}


def test_what_computes_attention_is_gone_after_a_call(wan, latents):
    text = wan.embed(["a cat"])
    usual = wan.predict(latents, step_of(wan), text)[0]

    def failing(*_):
        raise KeyError("stop")

    with pytest.raises(KeyError):
        wan.predict(latents, step_of(wan), text, Intervention(failing))
    assert layers._attend.get() is plain
    assert torch.equal(wan.predict(latents, step_of(wan), text)[0], usual)

    def scaled(by):
        attend = lambda q, k, v, site: by * plain(q, k, v, site)  # noqa: E731
        return wan.predict(latents, step_of(wan), text, Intervention(attend))[0]

    assert_same_at_once(scaled, (0.5, 1.0, 2.0))
    other = (
        Intervention(patches=(lambda _: nullcontext(),)),
        Intervention(control=lambda *_: {}),
        Intervention(queries={"mid": latents}),
    )
    for change in other:
        with pytest.raises(ValueError, match="takes nothing but attend"):
            wan.predict(latents, step_of(wan), text, change)
    with pytest.raises(DivergedError, match=r"NaN or Inf in step 8 of 25"):
        wan.predict(latents * torch.nan, step_of(wan), text)


@pytest.mark.parametrize(
    ("count", "time"), [(1, 1), (2, 2), (5, 2), (6, 3), (16, 5), (17, 5)]
)
def test_a_clip_is_padded_with_its_last_frame(wan, count, time):
    frames = frames_of(count)
    found = wan.encode(frames)
    assert (
        wan.grid(*frames.shape[:3])
        == Grid(time, 4, 6)
        == (*found.shape[:1], *found.shape[2:])
    )
    whole = np.concatenate([frames, np.repeat(frames[-1:], 4 * time - 3 - count, 0)])
    assert torch.equal(found, wan.encode(whole))
    assert wan.decode(found).shape == whole.shape


def assert_same_at_once(call, given):
    """Several threads answer as one."""
    alone = [*map(call, given)]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(5):
            assert all(map(torch.equal, pool.map(call, given), alone))


def test_the_autoencoder_takes_one_call_at_a_time(wan):
    assert_same_at_once(wan.encode, [frames_of(count) for count in (5, 9, 6)])


def test_little_memory_lets_the_autoencoder_work_in_tiles(wan, monkeypatch):
    tiled, encode = [], wan.vae.encode

    def noted(x):
        tiled.append(wan.vae.use_tiling)
        return encode(x)

    monkeypatch.setattr(wan.vae, "encode", noted)
    for free in (1 << 40, 1):
        memory = "regrain.editing.models.turns.free_memory"
        monkeypatch.setattr(memory, lambda _, free=free: free)
        wan.encode(frames_of(5))
        assert wan.window_frames(1, 4, 6) == max(8, int(free / 2 / (16 * 24 * 36)))
    assert (tiled, wan.vae.use_tiling) == ([False, True], False)


def test_out_of_memory_says_what_to_lower(wan, monkeypatch, latents):
    def full(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(wan.transformer, "forward", full)
    with pytest.raises(
        ResourceError,
        match=r"^clip.frames: Out of memory with 21 frames of 24 x 16 pixels",
    ):
        wan.predict(latents, step_of(wan), wan.embed(["a cat"]))


# --- Prompts


def test_prompts_are_encoded_once_and_the_encoder_goes(
    wan_folder, own_cache, monkeypatch
):
    from transformers import UMT5EncoderModel

    model, loads = loaded(wan_folder), []
    reader = replace(
        model.reader, load=lambda load=model.reader.load: loads.append(1) or load()
    )
    monkeypatch.setattr(model, "reader", reader)
    prompts = ["a cat on the grass", "", "ugly"]
    first = model.embed(prompts)
    again = model.embed(prompts[:2])
    assert len(loads) == 1
    assert torch.equal(first.vectors[:2], again.vectors)
    assert first.lengths == (6, 1, 2)
    assert first.offsets[0][:6] == ((0, 1), (2, 5), (6, 8), (9, 12), (13, 18), (0, 0))
    encoder = UMT5EncoderModel.from_pretrained(wan_folder / "text_encoder").eval()
    tokens = model.reader.tokenizer(
        prompts, padding="max_length", max_length=512, return_tensors="pt"
    )
    expected = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
    # as the library pads anew, with zeros
    expected = expected * tokens.attention_mask[..., None]
    torch.testing.assert_close(first.vectors, expected, atol=1e-5, rtol=1e-4)
    assert set(model.parts) == {"transformer", "vae"}


def test_prompts_are_cleaned_as_diffusers_does(monkeypatch):
    monkeypatch.setattr(pipeline_wan, "is_ftfy_available", lambda: False)
    prompts = ["a  cat &amp;amp; a\tdog ", "&lt;fox&gt;&#33; A&B &nbsp;x", "", "plain"]
    for prompt in prompts:
        clean = CleanText(prompt)
        assert clean.text == prompt_clean(prompt)
        for place, letter in enumerate(clean.text):
            start, stop = clean.in_prompt(place, place + 1)
            own = prompt[start:stop]
            assert letter == own or own.isspace() or "&" in own


def test_tokens_of_a_cleaned_prompt_have_their_places_in_it(wan):
    dirty = "a cat &amp;  a  dog"
    found = wan.embed([dirty])
    assert torch.equal(found.vectors, wan.embed(["a cat & a dog"]).vectors)
    assert found.prompts == (dirty,)
    assert (dirty.index("dog"), len(dirty)) in found.offsets[0]


def test_prompts_kept_are_those_of_the_encoder_that_made_them(
    wan_folder, own_cache, tmp_path
):
    folder = shutil.copytree(wan_folder, tmp_path / "other")
    path = folder / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    one = loaded(folder).embed(["a cat"])
    save_file({name: x * 1.5 for name, x in weights.items()}, path, {"format": "pt"})
    other = loaded(folder).embed(["a cat"])
    assert not torch.equal(one.vectors, other.vectors)
    rewrite(folder / TEXT, layer_norm_epsilon=0.5)
    assert not torch.equal(loaded(folder).embed(["a cat"]).vectors, other.vectors)


def test_a_prompt_too_long_is_refused_by_its_first_word_too_many(wan):
    with pytest.raises(
        PromptError,
        match=r"^regions.cat.prompt: The prompt has 600 tokens, but at most 511",
    ):
        wan.check_prompts(["cat " * 600], ["regions.cat.prompt"])


# --- What is refused, and what is listed


def test_a_tokenizer_without_words_is_refused(wan_folder, tmp_path):
    folder = shutil.copytree(wan_folder, tmp_path / "copy")
    shutil.rmtree(folder / "tokenizer")
    unknown = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0)]
    T5TokenizerFast(vocab=unknown, extra_ids=0).save_pretrained(folder / "tokenizer")
    assert "tokenizer/ lacks its vocabulary" in refusal(folder)


def test_a_large_tokenizer_without_merges_lacks_none():
    words = ["<pad>", "</s>", "<unk>", "\u2581a", "\u2581the", *map(str, range(999))]
    check_vocabulary(T5TokenizerFast(vocab=[(word, -9.0) for word in words]), "it")


def test_a_text_encoder_that_is_no_number_is_refused_with_the_first_prompt(
    wan_folder, tmp_path, own_cache
):
    folder = shutil.copytree(wan_folder, tmp_path / "copy")
    spoil(folder / "text_encoder" / "model.safetensors")
    with pytest.raises(ModelError, match="text_encoder/ has NaN or Inf"):
        loaded(folder).embed(["a cat"])


def test_a_text_encoder_of_other_sizes_is_refused_with_the_first_prompt(
    wan_folder, tmp_path, own_cache
):
    folder = shutil.copytree(wan_folder, tmp_path / "copy")
    rewrite(folder / TEXT, d_ff=48)
    sizes = r"of \[32, 32\], config.json says \[48, 32\]"
    with pytest.raises(ModelError, match=f"text_encoder/ has .*wi_0.weight {sizes}"):
        loaded(folder).embed(["a cat"])


def test_a_folder_needs_no_index_and_says_what_it_does_not_use(wan_folder, tmp_path):
    folder = shutil.copytree(wan_folder, tmp_path / "copy")
    (folder / "model_index.json").unlink()
    assert loaded(folder).notes == ()
    known = {"tokenizer": ["transformers", "T5TokenizerFast"]}
    write_json(folder / "model_index.json", known | {"painter": ["other", "Painter"]})
    assert loaded(folder).notes == ("The model's painter is not used.",)


# --- LoRA


def test_a_lora_makes_another_model_and_what_its_file_says_is_told(
    wan, wan_folder, tmp_path
):
    name = "blocks.1.attn1.to_q"
    weight = wan.transformer.get_parameter(f"{name}.weight")
    halves = {
        f"transformer.{name}.lora_A.weight": torch.ones(1, weight.shape[1]),
        f"transformer.{name}.lora_B.weight": torch.ones(len(weight), 1),
    }
    file = tmp_path / "fusionx_dance.safetensors"
    save_file(halves, file, {"multiplier": "0.5"})
    model = load_backbone(str(wan_folder), [f"{file}@0.5"])
    found = model.transformer.get_parameter(f"{name}.weight")
    torch.testing.assert_close(found, weight + 0.5)
    assert model.fingerprint != wan.fingerprint
    guess, size = model.notes
    assert "says FusionX" in guess
    assert "says multiplier '0.5', which is not used" in size
    assert "guidance_scale=1 (also source_guidance)" in guess
    assert model.defaults == wan.defaults
    assert wan.notes == ()

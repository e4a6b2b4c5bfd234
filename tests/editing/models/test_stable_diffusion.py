"""Loading, refusing, predicting: on tiny random models, offline."""

import json
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import scaled_dot_product_attention

from regrain.editing.attention.layers import LayerProcessor
from regrain.editing.diffusion.schedule import add_noise, advance
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.errors import DivergedError, ModelError, PromptError, ResourceError
from regrain.editing.models.build import load
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.load import load_backbone, on_shelf
from regrain.editing.models.loading.location import find
from regrain.editing.models.loading.single_file import guess_prediction


@pytest.fixture
def latents():
    return torch.randn(4, 4, 8, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (5, 64, 128, 3), dtype=np.uint8)


# --- facts and sizes


def test_facts(tiny, tiny_folder):
    assert tiny.id == str(tiny_folder)
    assert (tiny.size, tiny.multiple, tiny.token_limit) == (64, 64, 77)
    assert (tiny.prediction, tiny.dtype, tiny.device.type) == ("epsilon", torch.float32, "cpu")
    assert tiny.words is None
    assert tiny.defaults == {}
    assert len(tiny.sites) == 32


@pytest.mark.parametrize(
    ("clip", "size", "expected"),
    [
        ((64, 64), None, (64, 64)),
        ((640, 360), 512, (896, 512)),
        ((360, 640), 512, (512, 896)),
        ((1920, 1080), 300, (512, 320)),
        ((30, 3000), None, (64, 6400)),
        ((500, 500), 1, (64, 64)),
    ],
)
def test_fit_keeps_the_aspect(tiny, clip, size, expected):
    assert tiny.fit(*clip, size) == expected
    assert all(side % tiny.multiple == 0 for side in expected)


def test_grid(tiny):
    assert tiny.grid(8, 512, 896) == (8, 64, 112)


def test_encode_and_decode(tiny, tiny_dc, frames):
    for model, channels in ((tiny, 4), (tiny_dc, 16)):
        latents = model.encode(frames)
        assert latents.shape == (5, channels, *model.grid(5, 64, 128)[1:])
        assert latents.dtype == torch.float32
        decoded = model.decode(latents)
        assert decoded.shape == frames.shape
        assert decoded.dtype == np.uint8


def test_encode_is_the_scaled_mean(tiny, tiny_dc, frames):
    pixels = torch.from_numpy(frames).movedim(-1, 1) / 127.5 - 1
    with torch.no_grad():
        kl, dc = tiny.vae.encode(pixels).latent_dist.mean, tiny_dc.vae.encode(pixels).latent
    torch.testing.assert_close(tiny.encode(frames), kl * 0.18215, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tiny_dc.encode(frames), dc * 0.5, atol=1e-5, rtol=1e-4)


# --- prompts


def test_too_long_a_prompt_names_the_first_word_that_does_not_fit(tiny):
    fits = " ".join(["cat"] * 75)
    assert tiny.embed([fits]).lengths == (77,)
    with pytest.raises(
        PromptError, match="prompt: The prompt has 76 tokens, but at most 75 fit. .* 'tiger' .*is the first"
    ) as caught:
        tiny.embed(["", f"{fits} tiger"])
    assert f"character {len(fits) + 2}" in str(caught.value)
    with pytest.raises(PromptError, match="'Shiba-Inu,' .* is the first word"):
        tiny.embed([" ".join(["cat"] * 73) + "  Shiba-Inu, too"])


def test_words_are_matched_without_case_and_punctuation(tiny_dc):
    assert tiny_dc.words == {"a", "and", "cat", "fox", "on", "red", "tiger", "the", "left"}
    assert tiny_dc.embed(["", "A red Tiger, and (on the left) a fox!"]).lengths == (2, 15)


def test_unknown_words_are_named_with_near_ones(tiny_dc):
    with pytest.raises(
        PromptError, match='prompt: Unknown word "tigre"; this model knows 9 words. Did you mean tiger'
    ):
        tiny_dc.embed(["a cat", "a red Tigre."])
    with pytest.raises(PromptError, match='Unknown word "zzz"; .* Use a, and, cat'):
        tiny_dc.embed(["zzz"])


def test_defaults_come_with_the_model(tiny_dc):
    assert tiny_dc.defaults == {"videograin": {"steps": 20}}


# --- predict


def test_predict_equals_the_network(tiny, latents):
    step, text = tiny.schedule.sampling(50)[10], tiny.embed(["", "a cat"])
    x0, eps = tiny.predict(latents, step, text)
    with torch.no_grad():
        expected = tiny.unet(latents, step.t, text.vectors.repeat_interleave(2, 0)).sample
    assert torch.equal(eps, expected)
    torch.testing.assert_close(add_noise(x0, eps, step), latents, atol=1e-5, rtol=1e-5)


def test_one_text_per_branch_or_per_row(tiny, latents):
    step, text = tiny.schedule.sampling(50)[0], tiny.embed(["", "a cat"])
    short = tiny.predict(latents, step, text)
    full = tiny.predict(latents, step, text[[0, 0, 1, 1]])
    assert all(torch.equal(a, b) for a, b in zip(short, full, strict=True))
    with pytest.raises(ValueError, match="do not divide"):
        tiny.predict(latents[:3], step, text)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_parametrisations_of_one_denoiser_agree(tiny, latents, prediction, monkeypatch):
    """A network that knows the clean latents, asked in each way, at sampling and at inversion steps."""
    clean = latents / 2
    schedule = tiny.schedule
    told = {}

    class Network(torch.nn.Module):
        def forward(self, x, t, vectors, **_):
            signal, noise = schedule.level(int(t))
            eps = (x - signal * clean) / noise
            told["eps"] = eps
            v = signal * eps - noise * clean
            return ({"epsilon": eps, "sample": clean, "v_prediction": v}[prediction],)

    monkeypatch.setattr(tiny, "unet", Network())
    monkeypatch.setattr(tiny, "prediction", prediction)
    text = PromptEmbedding(("",), torch.zeros(1, 77, 32), (2,), (((0, 0),) * 77,), ((0,) * 77,))
    for step in (*schedule.sampling(5), *schedule.inversion(5), *schedule.inversion(5, "fatezero")):
        x = add_noise(clean, latents.flip(0), step)
        x0, eps = tiny.predict(x, step, text)
        torch.testing.assert_close(eps, told["eps"], atol=2e-4, rtol=2e-4)
        torch.testing.assert_close(x0, (x - step.noise * told["eps"]) / step.signal, atol=2e-3, rtol=2e-3)


def traces(model):
    """All that a call could have left on a model."""
    hooks = [
        name
        for name, module in model.named_modules()
        for table in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        if getattr(module, table)
    ]
    forwards = [name for name, module in model.named_modules() if "forward" in vars(module)]
    processors = [list(vars(processor)) for processor in model.attn_processors.values()]
    return hooks, forwards, processors


def assert_untouched(tiny, folder):
    assert traces(tiny.unet) == ([], [], [["site"]] * 32)
    assert all(isinstance(processor, LayerProcessor) for processor in tiny.unet.attn_processors.values())
    stored = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    parameters = dict(tiny.unet.named_parameters())
    assert stored.keys() == parameters.keys()
    assert all(torch.equal(stored[name], value) for name, value in parameters.items())
    assert not any(value.requires_grad for value in parameters.values())


def test_nothing_is_left_behind(tiny, tiny_folder, latents):
    step, text = tiny.schedule.sampling(50)[0], tiny.embed(["a cat"])
    tiny.predict(latents, step, text)
    tiny.predict(
        latents, step, text, Intervention(lambda q, k, v, site: scaled_dot_product_attention(q, k, v))
    )
    assert_untouched(tiny, tiny_folder)

    def attend(q, k, v, site):
        raise KeyError(site.name)

    with pytest.raises(KeyError):
        tiny.predict(latents, step, text, Intervention(attend))
    assert_untouched(tiny, tiny_folder)
    tiny.predict(latents, step, text)  # and the lock is free


def test_patches_last_one_call(tiny, tiny_folder, latents):
    step, text = tiny.schedule.sampling(50)[0], tiny.embed(["a cat"])
    plain, _ = tiny.predict(latents, step, text)
    order = []

    def patch(name):
        @contextmanager
        def enter(unet):
            handle = unet.mid_block.register_forward_hook(lambda module, inputs, output: output * 0)
            order.append(name)
            try:
                yield
            finally:
                handle.remove()

        return enter

    changed, _ = tiny.predict(latents, step, text, Intervention(patches=(patch("first"), patch("second"))))
    assert order == ["first", "second"]
    assert not torch.equal(changed, plain)
    assert torch.equal(tiny.predict(latents, step, text)[0], plain)

    def attend(q, k, v, site):
        raise KeyError

    with pytest.raises(KeyError):
        tiny.predict(latents, step, text, Intervention(attend, (patch("first"),)))
    assert_untouched(tiny, tiny_folder)


def test_control_adds_residuals(tiny, latents):
    step, text = tiny.schedule.sampling(50)[0], tiny.embed(["a cat"])
    heights = [32, 32, 32, 32, 64, 64, 64, 64, 64, 64, 64, 64]
    scales = [1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8]

    def control(value):
        def residuals(x, t):
            down = [torch.full((4, c, 8 // s, 16 // s), value) for c, s in zip(heights, scales, strict=True)]
            return down, torch.full((4, 64, 1, 2), value)

        return residuals

    plain = tiny.predict(latents, step, text)[1]
    torch.testing.assert_close(
        tiny.predict(latents, step, text, Intervention(control=control(0.0)))[1], plain
    )
    assert not torch.allclose(tiny.predict(latents, step, text, Intervention(control=control(1.0)))[1], plain)


def test_gradients_reach_the_text(tiny, latents):
    text, step = tiny.embed(["a cat"]), tiny.schedule.sampling(50)[0]
    vectors = text.vectors.clone().requires_grad_()
    x0, _ = tiny.predict(latents, step, text.with_vectors(vectors))
    assert x0.requires_grad
    (gradient,) = torch.autograd.grad(x0.sum(), vectors)
    assert gradient.abs().sum() > 0
    assert not tiny.predict(latents, step, text)[0].requires_grad


def test_divergence_is_reported(tiny, latents):
    with pytest.raises(DivergedError, match=r"step 3 of 50 \(t = 941\)") as caught:
        tiny.predict(latents * torch.inf, tiny.schedule.sampling(50)[2], tiny.embed([""]))
    assert caught.value.field == "conv_in"


def test_divergence_names_the_layer_it_began_in(tiny, tiny_folder, latents):
    bad = "up_blocks.1.attentions.0.transformer_blocks.0.attn2"

    def attend(q, k, v, site):
        return scaled_dot_product_attention(q, k, v) * (torch.nan if site.name == bad else 1)

    with pytest.raises(DivergedError) as caught:
        tiny.predict(latents, tiny.schedule.sampling(50)[2], tiny.embed([""]), Intervention(attend))
    assert caught.value.field.startswith(bad)
    assert_untouched(tiny, tiny_folder)


def test_memory_is_reported(tiny, latents):
    def attend(q, k, v, site):
        raise torch.OutOfMemoryError

    step, texts = tiny.schedule.sampling(50)[2], tiny.embed(["", "a cat"])
    with pytest.raises(ResourceError, match="2 frames of 128 x 64 pixels. Use 1 frame.$"):
        tiny.predict(latents, step, texts, Intervention(attend))
    large = torch.zeros(2, 4, 16, 24)
    with pytest.raises(
        ResourceError, match="size: .* 2 frames of 192 x 128 pixels. Lower size to 64, or use 1 frame.$"
    ):
        tiny.predict(large, step, texts[:1], Intervention(attend))
    with pytest.raises(ResourceError, match="model: .* Use a smaller model or a larger machine"):
        tiny.predict(large[:1, :, :8, :8], step, texts[:1], Intervention(attend))
    long = torch.zeros(12, 4, 16, 16)
    with pytest.raises(ResourceError, match="clip.frames: .* 12 frames .* Use 6 frames, or lower size to 64"):
        tiny.predict(long, step, texts[:1], Intervention(attend))


def test_little_memory_cuts_the_autoencoders_work(tiny, frames, monkeypatch):
    latents = tiny.encode(frames)
    calls = []
    encode = tiny.vae.encode
    monkeypatch.setattr(
        tiny.vae, "encode", lambda x: calls.append((len(x), tiny.vae.use_tiling)) or encode(x)
    )
    for free, expected in (
        (1 << 40, [(4, False), (1, False)]),
        (2 * 4096 * 64 * 128 * 2, [(2, False), (2, False), (1, False)]),
        (1, [(1, True)] * 5),
    ):
        calls.clear()
        monkeypatch.setattr(
            "regrain.editing.models.stable_diffusion.free_memory", lambda device, free=free: free
        )
        torch.testing.assert_close(tiny.encode(frames), latents, atol=0.2 if free == 1 else 1e-5, rtol=1e-4)
        assert calls == expected
    assert not tiny.vae.use_tiling


def test_parts_in_turns_are_moved_only_when_another_is_needed(
    tiny_folder, tiny, latents, frames, monkeypatch
):
    model = load(find(str(tiny_folder)), str(tiny_folder))
    model.takes_turns = True
    moves = []
    for name in ("unet", "vae", "text_encoder"):
        part = getattr(model, name)
        monkeypatch.setattr(
            part, "to", lambda device, name=name, part=part: moves.append((name, str(device))) or part
        )
    # A device of another name, to tell it from the parts' home; all is computed on the CPU.
    model.device = torch.device("cpu", 0)
    step = model.schedule.sampling(50)[0]
    text = model.embed(["", "a cat"])
    clip = model.encode(frames)
    model.halves_fit(5, 8, 16)
    first = model.predict(latents, step, text)
    model.predict(latents, step, text)
    model.decode(clip)
    here = "cpu:0"
    assert moves == [
        ("text_encoder", here), ("text_encoder", "cpu"), ("vae", here), ("vae", "cpu"), ("unet", here),
        ("unet", "cpu"), ("vae", here),
    ]  # fmt: skip
    assert torch.equal(first[0], tiny.predict(latents, step, text)[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_in_turns_the_result_is_the_same_and_the_device_holds_one_part(tiny_folder, latents, monkeypatch):
    answers = []
    for turns in (False, True):
        monkeypatch.setattr("regrain.editing.models.build.takes_turns", lambda *_, turns=turns: turns)
        model = load(find(str(tiny_folder)), str(tiny_folder), device="cuda", dtype=torch.float32)
        text = model.embed(["", "a cat"])
        answers.append(model.predict(latents, model.schedule.sampling(50)[0], text)[0])
    assert torch.equal(*answers)
    assert {p.device.type for p in model.unet.parameters()} == {"cuda"}
    assert {p.device.type for p in model.text_encoder.parameters()} == {"cpu"}


# --- folders and ids


def test_weights_stored_in_half_are_read_as_float(tmp_path, tiny_dc_folder, tiny_dc):
    folder = shutil.copytree(tiny_dc_folder, tmp_path / "half")
    for path in folder.rglob("*.safetensors"):
        save_file({name: value.half() for name, value in load_file(path).items()}, path, {"format": "pt"})
    model = load_backbone(str(folder))
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(model, part).state_dict(), getattr(tiny_dc, part).state_dict()
        for name, value in ours.items():
            assert value.dtype == theirs[name].dtype
            assert torch.equal(value, theirs[name].half().to(theirs[name].dtype))


def test_shards_are_read(tmp_path, tiny_folder, tiny):
    folder = shutil.copytree(tiny_folder, tmp_path / "shards")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    tiny.unet.save_pretrained(folder / "unet", max_shard_size="1MB")
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").exists()
    assert_same(load_backbone(str(folder)), tiny)


def test_a_model_is_loaded_once(tiny_folder, monkeypatch):
    assert load_backbone(str(tiny_folder)) is load_backbone(str(tiny_folder))
    monkeypatch.setenv("REGRAIN_MODELS", str(tiny_folder.parent))
    assert load_backbone(tiny_folder.name) is load_backbone(str(tiny_folder))


def test_only_models_are_offered_from_the_shelf(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    (tmp_path / "mine").symlink_to(tiny_folder)
    (tmp_path / "empty").mkdir()
    for name in ("one.safetensors", "raft_large.safetensors", "sam_vit_b_01ec64.pth", "notes.txt"):
        (tmp_path / name).touch()
    assert on_shelf() == ["mine", "one.safetensors"]
    monkeypatch.delenv("REGRAIN_MODELS")
    assert on_shelf() == []


def test_names_stay_in_the_shelf(tmp_path, monkeypatch):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "secret.safetensors").touch()
    (tmp_path / "shelf" / "mine.safetensors").touch()
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path / "shelf"))
    assert find("mine") == find("mine.safetensors")
    assert find("mine").kind == "file"
    with pytest.raises(ModelError):
        find("../secret")


def test_what_is_built_in_is_here_and_what_lies_beside_it_is_not_reached():
    assert find("storybook/canny", "config.json").kind == "folder"
    assert find("storybook/other").kind == "hub"
    with pytest.raises(ModelError):
        find("storybook/../../secret")


def test_hub_ids(monkeypatch):
    monkeypatch.delenv("REGRAIN_MODELS", raising=False)
    found = find("stable-diffusion-v1-5/stable-diffusion-v1-5")
    assert (found.kind, found.location) == ("hub", "stable-diffusion-v1-5/stable-diffusion-v1-5")


@pytest.mark.parametrize(
    "id", ["", "nonsense", "/no/such/folder", "no/such/folder", "no-such.safetensors", "x" * 5000]
)
def test_unknown_ids_are_refused(id):
    with pytest.raises(ModelError, match="^model: .* was not found. Use storybook, a hub id") as caught:
        load_backbone(id)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["v1-5.ckpt", "model.pt", "pytorch_model.bin"])
@pytest.mark.parametrize("exists", [True, False])
def test_pickles_are_refused(tmp_path, name, exists):
    if exists:
        (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="^model: .*pickle.*safetensors"):
        load_backbone(str(tmp_path / name))


def test_folders_with_pickled_weights_are_refused(tmp_path, tiny_folder):
    folder = shutil.copytree(tiny_folder, tmp_path / "pickled")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelError, match=r"no .safetensors weights in vae/, only pickles"):
        load_backbone(str(folder))


def test_incomplete_folders_are_refused(tmp_path, tiny_folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match="no unet/config.json"):
        load_backbone(str(empty))

    part = shutil.copytree(tiny_folder, tmp_path / "part")
    shutil.rmtree(part / "text_encoder")
    with pytest.raises(ModelError, match="no folder text_encoder/"):
        load_backbone(str(part))

    keys = shutil.copytree(tiny_folder, tmp_path / "keys")
    path = keys / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_out.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match="unet/ lacks 1 weights, such as conv_out.weight"):
        load_backbone(str(keys))

    path.write_bytes(b"not a safetensors file at all")
    with pytest.raises(ModelError) as caught:
        load_backbone(str(keys))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta_schedule": "sigmoid"}, "unknown beta_schedule 'sigmoid'"),
        ({"prediction_type": "flow_prediction"}, "predicts 'flow_prediction', which is unknown"),
    ],
)
def test_unknown_schedulers_are_refused(tmp_path, tiny_folder, change, message):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        load_backbone(str(folder))


def test_offline_hub_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="^model: 'nobody/nothing' is not downloaded") as caught:
        load_backbone("nobody/nothing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [("GatedRepoError", "is gated. Accept its terms"), ("RepositoryNotFoundError", "missing from the hub")],
)
def test_hub_refusals_are_one_line(monkeypatch, error, message):
    import huggingface_hub
    from huggingface_hub import errors

    def refuse(*_, **__):
        kind = getattr(errors, error)
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=f"^model: 'nobody/nothing' .*{message}"):
        load_backbone("nobody/nothing")


def test_a_hub_download_is_read_as_a_folder_of_safetensors(monkeypatch, tiny_folder, tiny):
    import huggingface_hub

    asked = {}

    def download(id, allow_patterns):
        asked[id] = allow_patterns
        return str(tiny_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert_same(load_backbone("someone/something"), tiny)
    from huggingface_hub.utils import filter_repo_objects

    offered = [
        "model_index.json", "v1-5-pruned.ckpt", "v1-5-pruned-emaonly.safetensors", "unet/config.json",
        "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors", "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin", "safety_checker/model.safetensors", "tokenizer/merges.txt",
        "scheduler/scheduler_config.json", "vae/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip
    taken = set(filter_repo_objects(offered, allow_patterns=asked["someone/something"]))
    assert set(offered) - taken == {
        "v1-5-pruned.ckpt", "v1-5-pruned-emaonly.safetensors", "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors",
        "text_encoder/pytorch_model.bin", "safety_checker/model.safetensors",
    }  # fmt: skip


# --- single files


def original_layout(model, version="sd1"):
    """Rename the weights of a diffusers model to the layout of the original checkpoints."""
    out = {}
    for key, value in model.unet.state_dict().items():
        out["model.diffusion_model." + unet_key(key)] = value
    for key, value in model.vae.state_dict().items():
        name = vae_key(key)
        is_attention_weight = ".attn_1." in name and value.ndim == 2
        out["first_stage_model." + name] = value[:, :, None, None] if is_attention_weight else value
    text = {key.removeprefix("text_model."): value for key, value in model.text_encoder.state_dict().items()}
    if version == "sd1":
        out |= {f"cond_stage_model.transformer.text_model.{key}": value for key, value in text.items()}
    else:
        out |= {f"cond_stage_model.model.{key}": value for key, value in openclip(text).items()}
    return {key: value.contiguous().clone() for key, value in out.items()}


def resnet_key(name):
    for ours, theirs in {
        "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
    }.items():  # fmt: skip
        name = name.replace(ours, theirs)
    return name


def unet_key(key):
    """Blocks of 3 in the encoder (two layers, one downsampler) and in the decoder (three layers)."""
    for ours, theirs in {
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    }.items():  # fmt: skip
        if key.startswith(ours):
            return key.replace(ours, theirs)
    parts = key.split(".")
    if parts[0] == "mid_block":
        kind, index, rest = parts[1], int(parts[2]), ".".join(parts[3:])
        if kind == "resnets":
            return f"middle_block.{2 * index}.{resnet_key(rest)}"
        return f"middle_block.1.{rest}"
    block, kind, index, rest = int(parts[1]), parts[2], int(parts[3]), ".".join(parts[4:])
    if parts[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{3 * block + 3}.0.{rest.replace('conv', 'op')}"
        at = f"input_blocks.{3 * block + index + 1}"
    else:
        if kind == "upsamplers":
            return f"output_blocks.{3 * block + 2}.{1 if block == 0 else 2}.{rest}"
        at = f"output_blocks.{3 * block + index}"
    return f"{at}.0.{resnet_key(rest)}" if kind == "resnets" else f"{at}.1.{rest}"


def vae_key(key):
    for ours, theirs in {
        "mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2",
        "mid_block.attentions.0": "mid.attn_1", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v",
        "to_out.0": "proj_out", "conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut",
        "downsamplers.0": "downsample", "upsamplers.0": "upsample", "resnets": "block", "down_blocks": "down",
    }.items():  # fmt: skip
        key = key.replace(ours, theirs)
    for ours in range(4):
        if f"up_blocks.{ours}." in key:
            return key.replace(f"up_blocks.{ours}.", f"up.{3 - ours}.")
    return key


def openclip(text):
    """OpenCLIP keeps q, k and v in one matrix."""
    out = {}
    for key, value in text.items():
        for ours, theirs in {
            "embeddings.token_embedding": "token_embedding",
            "embeddings.position_embedding.weight": "positional_embedding",
            "final_layer_norm": "ln_final", "encoder.layers": "transformer.resblocks", "layer_norm1": "ln_1",
            "layer_norm2": "ln_2", "self_attn": "attn", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
        }.items():  # fmt: skip
            key = key.replace(ours, theirs)
        if ".k_proj." in key or ".v_proj." in key:
            continue
        if ".q_proj." in key:
            source = next(name for name in text if text[name] is value)
            stacked = torch.cat([text[source.replace("q_proj", f"{letter}_proj")] for letter in "qkv"])
            key, value = key.replace("q_proj.", "in_proj_"), stacked
        out[key] = value
    return out


def assert_same(model, expected):
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(model, part).state_dict(), getattr(expected, part).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def run(model, steps=2):
    """Two steps from fixed noise."""
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = model.embed(["a cat"])
    for step in model.schedule.sampling(steps):
        x = advance(*model.predict(x, step, text), step)
    return x


def test_a_single_file_equals_its_folder(tmp_path, tiny):
    path = tmp_path / "tiny.safetensors"
    save_file(original_layout(tiny), path)
    model = load_backbone(str(path))
    assert_same(model, tiny)
    assert model.prediction == "epsilon"
    assert (model.size, model.token_limit) == (512, 77)
    assert torch.equal(run(model), run(tiny))


def test_a_single_file_in_half_precision_is_read_as_float(tmp_path, tiny):
    path = tmp_path / "half.safetensors"
    save_file({key: value.half() for key, value in original_layout(tiny).items()}, path)
    model = load_backbone(str(path))
    for part in (model.unet, model.vae, model.text_encoder):
        assert {value.dtype for value in part.parameters()} == {torch.float32}
    torch.testing.assert_close(run(model), run(tiny), atol=0.05, rtol=0.05)


@pytest.fixture(scope="session")
def second(tmp_path_factory):
    """A narrow Stable Diffusion 2.x: OpenCLIP text encoder, linear projections, cross-attention 1024 wide."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng():
        torch.manual_seed(2)
        unet = UNet2DConditionModel(
            block_out_channels=(32, 64, 64, 64), attention_head_dim=(1, 1, 1, 1), cross_attention_dim=1024,
            use_linear_projection=True, sample_size=64,
        )  # fmt: skip
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(32, 32, 32, 64), layers_per_block=2,
        )  # fmt: skip
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=1024, intermediate_size=64, num_hidden_layers=1, num_attention_heads=16,
                hidden_act="gelu", vocab_size=49408,
            )
        )  # fmt: skip
    return SimpleNamespace(unet=unet.eval(), vae=vae.eval(), text_encoder=text_encoder.eval())


@pytest.mark.parametrize(
    ("metadata", "marker", "prediction", "size"),
    [
        ({"modelspec.prediction_type": "epsilon"}, False, "epsilon", 512),
        ({"modelspec.prediction_type": "v"}, False, "v_prediction", 768),
        (None, True, "v_prediction", 768),
        (None, False, "v_prediction", 768),  # asked: a random network does not answer its input
    ],
)
def test_second_version_single_file(tmp_path, second, metadata, marker, prediction, size):
    weights = original_layout(second, "sd2") | ({"v_pred": torch.zeros(0)} if marker else {})
    path = tmp_path / "second.safetensors"
    save_file(weights, path, metadata)
    model = load_backbone(str(path))
    assert_same(model, second)
    assert (model.prediction, model.size) == (prediction, size)
    assert model.unet.config.cross_attention_dim == 1024
    assert model.tokenizer.pad_token_id == 0
    assert run(model).isfinite().all()


def test_marked_first_version_predicts_v(tmp_path, tiny):
    path = tmp_path / "v.safetensors"
    save_file(original_layout(tiny) | {"v_pred": torch.zeros(0)}, path)
    model = load_backbone(str(path))
    assert (model.prediction, model.size) == ("v_prediction", 512)


def test_guess_prediction(tiny):
    """The best answers to almost pure noise for Gaussian latents, in both forms."""
    signal, noise = tiny.schedule.level(999)

    def network(form):
        def answer(x, t, text):
            x0 = signal * x / (signal**2 + noise**2)
            eps = (x - signal * x0) / noise
            return SimpleNamespace(sample=eps if form == "epsilon" else signal * eps - noise * x0)

        return answer

    for form in ("epsilon", "v_prediction"):
        assert guess_prediction(network(form), torch.zeros(1, 77, 32)) == form


def test_other_single_files_are_refused(tmp_path, tiny):
    weights = original_layout(tiny)

    def refusal(name, tensors):
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path)
        with pytest.raises(ModelError) as caught:
            load_backbone(str(path))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "an SDXL checkpoint" in refusal("xl", {"conditioner.embedders.0.x": torch.zeros(1)})
    assert "has no UNet" in refusal("lora", {"lora_unet_down": torch.zeros(1)})
    without = {key: value for key, value in weights.items() if not key.startswith("first_stage_model.")}
    assert "has no autoencoder" in refusal("pruned", without)
    lacking = {key: value for key, value in weights.items() if not key.endswith("time_embed.2.bias")}
    assert "is not a complete Stable Diffusion 1.x checkpoint" in refusal("lacking", lacking)
    lacking = {key: value for key, value in weights.items() if "layers.1.mlp.fc2.bias" not in key}
    assert "is not a complete Stable Diffusion 1.x checkpoint" in refusal("text", lacking)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    inpainting = weights | {first: torch.zeros(32, 9, 3, 3)}
    assert "9 input channels" in refusal("inpainting", inpainting)
    shape = weights | {"model.diffusion_model.out.2.weight": torch.zeros(4, 16, 3, 3)}
    assert "not a complete Stable Diffusion 1.x checkpoint" in refusal("shape", shape)
    (tmp_path / "text.safetensors").write_text("hello, this is not a checkpoint")
    with pytest.raises(ModelError, match="damaged"):
        load_backbone(str(tmp_path / "text.safetensors"))


def test_shipped_configurations_are_the_real_sizes():
    """On the meta device: parameter counts and head widths of Stable Diffusion 1.5 and 2.x."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from regrain.editing.models.loading.single_file import CHECKPOINTS

    counts = {"sd1": (859_520_964, 83_653_863, 123_060_480), "sd2": (865_910_724, 83_653_863, 340_387_840)}
    for version, expected in counts.items():
        unet, vae, text = (
            json.loads((CHECKPOINTS / version / part / "config.json").read_text())
            for part in ("unet", "vae", "text_encoder")
        )
        with torch.device("meta"):
            parts = (
                UNet2DConditionModel.from_config(unet),
                AutoencoderKL.from_config(vae),
                CLIPTextModel(CLIPTextConfig(**text)),
            )
        assert tuple(sum(p.numel() for p in part.parameters()) for part in parts) == expected
        heads = parts[0].down_blocks[2].attentions[0].transformer_blocks[0].attn1.heads
        assert heads == (8 if version == "sd1" else 20)


# --- imports


@pytest.mark.slow
def test_finding_needs_no_torch_and_loading_no_xformers(tiny_folder):
    import subprocess
    import sys

    code = f"""
import sys
from regrain.editing.models.load import find, load_backbone
find({str(tiny_folder)!r})
assert "torch" not in sys.modules
load_backbone({str(tiny_folder)!r}, device="cpu")
import torch
assert torch.cuda.is_available() or not any(name.split(".")[0] == "xformers" for name in sys.modules)
assert "diffusers.pipelines.stable_diffusion" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=1200)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_half_precision_on_a_gpu_stays_near_the_cpu(tiny, tiny_folder, latents):
    model = load_backbone(str(tiny_folder), device="cuda")
    assert model.dtype == torch.float16
    step, text = tiny.schedule.sampling(50)[10], tiny.embed(["a cat"])
    x0, eps = model.predict(latents.cuda(), step, text)
    assert x0.dtype == eps.dtype == torch.float32
    torch.testing.assert_close(eps.cpu(), tiny.predict(latents, step, text)[1], atol=2e-2, rtol=2e-2)

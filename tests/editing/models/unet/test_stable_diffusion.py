"""Loading, refusing, predicting: on tiny random models, offline."""

import shutil
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from damaged_models import refusal
from diffusers import AutoencoderKL, UNet2DConditionModel
from huggingface_hub import errors
from json_files import read_json
from made_clips import black
from made_models import loaded, randn
from safetensors.torch import load_file, save_file
from single_files import assert_same, load_file_of, openclip, original_layout
from torch.nn.functional import scaled_dot_product_attention
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from regrain.editing import EditRequest
from regrain.editing.diffusion.schedule import add_noise, advance
from regrain.editing.errors import DivergedError, ModelError, PromptError, ResourceError
from regrain.editing.models.files.file_head import CHECKPOINTS
from regrain.editing.models.files.location import find
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.loading.load import load_backbone, local_models
from regrain.editing.models.weights.single_file import (
    TEXT,
    _text_encoder,
    guess_prediction,
)
from regrain.editing.pipeline.beforehand import working_size_of


@pytest.fixture
def latents():
    return randn(4, 4, 8, 16)


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (5, 64, 128, 3), dtype=np.uint8)


def test_fit_keeps_the_aspect(tiny):
    assert [tiny.fit(*clip, None) for clip in ((64, 64), (30, 3000))] == [
        (64, 64),
        (64, 6400),
    ]
    assert [tiny.fit(*clip, 512) for clip in ((640, 360), (360, 640))] == [
        (896, 512),
        (512, 896),
    ]
    assert (tiny.fit(1920, 1080, 300), tiny.fit(500, 500, 1)) == ((512, 320), (64, 64))


def test_latents_of_a_deep_autoencoder_are_scaled_and_go_back(tiny_dc, frames):
    """Those of others are held in `test_unusual_models`."""
    pixels = torch.from_numpy(frames).movedim(-1, 1) / 127.5 - 1
    with torch.no_grad():
        expected = 0.5 * tiny_dc.vae.encode(pixels).latent
    latents = tiny_dc.encode(frames)
    assert latents.shape[2:] == tiny_dc.grid(5, 64, 128)[1:]
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-4)
    decoded = tiny_dc.decode(latents)
    assert (decoded.shape, decoded.dtype) == (frames.shape, np.uint8)


def test_too_long_a_prompt_names_the_first_word_that_does_not_fit(tiny):
    fits = " ".join(["cat"] * 75)
    assert tiny.embed([fits]).lengths == (77,)
    many = "The prompt has 76 tokens, but at most 75 fit."
    place = rf"'tiger' \(character {len(fits) + 2}\) is the first"
    with pytest.raises(PromptError, match=f"prompt: {many} .* {place}"):
        tiny.embed(["", f"{fits} tiger"])
    with pytest.raises(PromptError, match="'Shiba-Inu,' .* is the first word"):
        tiny.embed([" ".join(["cat"] * 73) + "  Shiba-Inu, too"])


def test_words_are_matched_without_case_and_punctuation_and_unknown_ones_named(tiny_dc):
    assert tiny_dc.embed(["", "A red Tiger, and (on the left) a fox!"]).lengths == (
        2,
        15,
    )
    known = 'prompt: Unknown word "tigre"; this model knows 9 words. Did you mean tiger'
    with pytest.raises(PromptError, match=known):
        tiny_dc.embed(["a cat", "a red Tigre."])
    with pytest.raises(PromptError, match='Unknown word "zzz"; .* Use a, and, cat'):
        tiny_dc.embed(["zzz"])


# --- predict


def test_predict_equals_the_network_with_a_text_per_branch_or_per_row(tiny, latents):
    """An inversion may ask at another level than that of its latents."""
    text = tiny.embed(["", "a cat"])
    schedule = tiny.schedule
    rising = schedule.inversion(5)[2], schedule.inversion(5, "fatezero")[2]
    for step in (*rising, schedule.sampling(50)[10]):
        x0, eps = tiny.predict(latents, step, text)
        with torch.no_grad():
            vectors = text.vectors.repeat_interleave(2, 0)
            expected = tiny.unet(latents, step.t, vectors).sample
        assert torch.equal(eps, expected)
        noised = add_noise(x0, eps, step)
        torch.testing.assert_close(noised, latents, atol=1e-5, rtol=1e-5)
    assert all(
        map(torch.equal, (x0, eps), tiny.predict(latents, step, text[[0, 0, 1, 1]]))
    )


def assert_untouched(model, folder):
    """Nothing that a call could leave on a model is there, and its weights are the
    stored ones."""
    for name, module in model.unet.named_modules():
        hooks = [own for key, own in vars(module).items() if key.endswith("_hooks")]
        assert not any(hooks), name
        assert "forward" not in vars(module), name
    for processor in model.unet.attn_processors.values():
        assert [*vars(processor)] == ["site"]
    stored = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    parameters = dict(model.unet.named_parameters())
    assert stored.keys() == parameters.keys()
    assert all(torch.equal(stored[name], value) for name, value in parameters.items())


def test_changes_last_one_call(small, small_folder, latents):
    step, text = small.schedule.sampling(50)[0], small.embed(["a cat"])
    plain, _ = small.predict(latents, step, text)
    order = []

    def patch(name):
        @contextmanager
        def enter(unet):
            handle = unet.mid_block.register_forward_hook(
                lambda module, inputs, output: output * 0
            )
            order.append(name)
            try:
                yield
            finally:
                handle.remove()

        return enter

    def failing(q, k, v, site):
        raise KeyError(site.name)

    same = Intervention(lambda q, k, v, site: scaled_dot_product_attention(q, k, v))
    assert torch.equal(small.predict(latents, step, text, same)[0], plain)
    changed, _ = small.predict(
        latents, step, text, Intervention(patches=(patch("first"), patch("second")))
    )
    assert order == ["first", "second"]
    assert not torch.equal(changed, plain)
    with pytest.raises(KeyError):
        small.predict(latents, step, text, Intervention(failing, (patch("third"),)))
    assert_untouched(small, small_folder)
    # and the lock is free
    assert torch.equal(small.predict(latents, step, text)[0], plain)


def test_divergence_names_the_step_and_the_layer_it_began_in(
    small, small_folder, latents
):
    bad = "up_blocks.1.attentions.0.transformer_blocks.0.attn2"

    def attend(q, k, v, site):
        return scaled_dot_product_attention(q, k, v) * (
            torch.nan if site.name == bad else 1
        )

    infinite = latents * torch.inf
    for x, change, layer in (
        (infinite, Intervention(), "conv_in"),
        (latents, Intervention(attend), bad),
    ):
        with pytest.raises(DivergedError, match=r"step 3 of 50 \(t = 941\)") as caught:
            small.predict(x, small.schedule.sampling(50)[2], small.embed([""]), change)
        assert caught.value.field.startswith(layer)
    assert_untouched(small, small_folder)


@pytest.mark.parametrize(
    ("shape", "texts", "message"),
    [
        ((4, 8, 16), 2, "2 frames of 128 x 64 pixels. Use 1 frame.$"),
        (
            (2, 16, 24),
            1,
            "size: .* 2 frames of 192 x 128 pixels. Lower size to 64, or use 1 frame.$",
        ),
        ((1, 8, 8), 1, "model: .* Use a smaller model or a larger machine"),
        (
            (12, 16, 16),
            1,
            "clip.frames: .* 12 frames .* Use 6 frames, or lower size to 64",
        ),
    ],
)
def test_memory_is_reported(tiny, shape, texts, message):
    def attend(q, k, v, site):
        raise torch.OutOfMemoryError

    rows, height, width = shape
    step, text = tiny.schedule.sampling(50)[2], tiny.embed(["", "a cat"][:texts])
    with pytest.raises(ResourceError, match=message):
        tiny.predict(
            torch.zeros(rows, 4, height, width), step, text, Intervention(attend)
        )


def test_little_memory_cuts_the_autoencoders_work(tiny, frames, monkeypatch):
    latents = tiny.encode(frames)
    calls = []
    encode = tiny.vae.encode
    noted = lambda x: calls.append((len(x), tiny.vae.use_tiling)) or encode(x)  # noqa: E731
    monkeypatch.setattr(tiny.vae, "encode", noted)
    two = [(2, False), (2, False), (1, False)]
    cases = {
        1 << 40: [(4, False), (1, False)],
        2 * 4096 * 64 * 128 * 2: two,
        1: [(1, True)] * 5,
    }
    for free, expected in cases.items():
        calls.clear()
        monkeypatch.setattr(
            "regrain.editing.models.turns.free_memory", lambda device, free=free: free
        )
        torch.testing.assert_close(
            tiny.encode(frames), latents, atol=0.3 if free == 1 else 1e-5, rtol=1e-4
        )
        assert calls == expected
    assert not tiny.vae.use_tiling


# --- folders and ids


def test_weights_stored_in_half_are_read_as_float(tmp_path, tiny_dc_folder, tiny_dc):
    folder = shutil.copytree(tiny_dc_folder, tmp_path / "half")
    for path in folder.rglob("*.safetensors"):
        halves = {name: value.half() for name, value in load_file(path).items()}
        save_file(halves, path, {"format": "pt"})
    for name, part in loaded(folder).parts.items():
        theirs = tiny_dc.parts[name].state_dict()
        for key, value in part.state_dict().items():
            assert value.dtype == theirs[key].dtype
            assert torch.equal(value, theirs[key].half().to(value.dtype))


def test_a_model_is_loaded_once(tiny_folder, monkeypatch):
    assert loaded(tiny_folder) is loaded(tiny_folder)
    monkeypatch.setenv("REGRAIN_MODELS", str(tiny_folder.parent))
    assert load_backbone(tiny_folder.name) is loaded(tiny_folder)


def test_only_models_are_offered_from_the_shelf(
    tiny_folder, wan_folder, tmp_path, monkeypatch, own_models
):
    (tmp_path / "mine").symlink_to(tiny_folder)
    (tmp_path / "video").symlink_to(wan_folder)
    (tmp_path / "empty").mkdir()
    for name in (
        "one.safetensors",
        "raft_large.safetensors",
        "sam_vit_b_01ec64.pth",
        "notes.txt",
    ):
        (tmp_path / name).touch()
    assert local_models() == ["mine", "one.safetensors", "video"]
    monkeypatch.delenv("REGRAIN_MODELS")
    assert local_models() == []


def test_names_stay_in_the_shelf(tmp_path, monkeypatch):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "secret.safetensors").touch()
    (tmp_path / "shelf" / "mine.safetensors").touch()
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path / "shelf"))
    assert find("mine") == find("mine.safetensors")
    assert find("mine").kind == "file"
    hub = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert (find(hub).kind, find(hub).location) == ("hub", hub)
    assert find("storybook/canny", "config.json").kind == "folder"
    assert (
        find("storybook/other").kind == "hub"
    )  # what lies beside the built-in models is not reached
    for id in ("../secret", "storybook/../../secret"):
        with pytest.raises(ModelError):
            find(id)


@pytest.mark.parametrize(
    "id", ["", "nonsense", "/no/folder", "no/such/folder", "no.safetensors", "x" * 5000]
)
def test_unknown_ids_are_refused(id):
    assert "was not found. Use storybook, a hub id" in refusal(id)


@pytest.mark.parametrize("name", ["v1-5.ckpt", "model.pt", "pytorch_model.bin"])
def test_pickles_are_refused_before_they_are_looked_for(tmp_path, name):
    assert "is a pickle and could run code when opened. Use storybook" in refusal(
        tmp_path / name
    )
    (tmp_path / name).write_bytes(b"\x80\x04.")
    assert "is a pickle" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("GatedRepoError", "is gated. Accept its terms"),
        ("RepositoryNotFoundError", "missing from the hub"),
    ],
)
def test_hub_refusals_are_one_line(monkeypatch, tmp_path, error, message):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert "'nobody/nothing' is not downloaded" in refusal("nobody/nothing")  # offline

    def refuse(*_, **__):
        kind = getattr(errors, error)
        raise kind.__new__(kind)

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    assert message in refusal("nobody/nothing")


# --- single files


def run(model):
    """Two steps from fixed noise."""
    x = randn(1, 4, 8, 8)
    text = model.embed(["a cat"])
    for step in model.schedule.sampling(2):
        x = advance(*model.predict(x, step, text), step)
    return x


def test_a_single_file_equals_its_folder(tmp_path, tiny):
    model = load_file_of(original_layout(tiny), tmp_path / "tiny.safetensors")
    assert_same(model, tiny)
    assert model.prediction == "epsilon"
    assert (model.size, model.token_limit) == (512, 77)
    assert torch.equal(run(model), run(tiny))


@pytest.fixture(scope="module")
def second(tiny):
    """A narrow Stable Diffusion 2.x: OpenCLIP text encoder, linear projections."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        sizes = {
            "block_out_channels": (32, 64, 64, 64),
            "attention_head_dim": (1,) * 4,
            "sample_size": 64,
        }
        unet = UNet2DConditionModel(
            **sizes, cross_attention_dim=64, use_linear_projection=True
        )
        sizes = {"hidden_size": 64, "intermediate_size": 64, "vocab_size": 49408}
        layers = {"num_hidden_layers": 1, "num_attention_heads": 1}
        config = CLIPTextConfig(**sizes, **layers, hidden_act="gelu")
        text_encoder = CLIPTextModel(config)
    parts = {"unet": unet.eval(), "vae": tiny.vae, "text_encoder": text_encoder.eval()}
    return SimpleNamespace(**parts, parts=parts)


@pytest.mark.parametrize(
    ("metadata", "prediction", "size"),
    [
        ({"modelspec.prediction_type": "epsilon"}, "epsilon", 512),
        ({"modelspec.prediction_type": "v"}, "v_prediction", 768),
        # asked: a random network does not answer its input
        (None, "v_prediction", 768),
    ],
)
def test_second_version_single_file(tmp_path, second, metadata, prediction, size):
    model = load_file_of(
        original_layout(second, "sd2"), tmp_path / "second.safetensors", metadata
    )
    assert_same(model, second)
    assert (model.prediction, model.size) == (prediction, size)
    if metadata:  # what is asked of the network is not known before loading
        given = {"model": model.id, "method": "sdedit", "prompt": "a cat"}
        request = EditRequest(black(1, 64, 96), None, (), **given)
        assert working_size_of(request).side == size
    assert model.unet.config.cross_attention_dim == 64
    padded = model.tokenizer("a cat", padding="max_length").input_ids
    assert padded == [49406, 320, 2368, 49407, *[0] * 73]
    assert run(model).isfinite().all()


def test_second_version_reads_the_last_but_one_layer():
    """Its files have 24 layers."""
    sizes = {"hidden_size": 64, "intermediate_size": 64, "vocab_size": 100}
    layers = {"num_hidden_layers": 24, "num_attention_heads": 1}
    deep = CLIPTextModel(CLIPTextConfig(**sizes, **layers, hidden_act="gelu"))
    weights = openclip(deep, TEXT["sd2"]["text_encoder"])
    found, names = _text_encoder(weights, "sd2", "text_encoder", 0)
    assert found.config.num_hidden_layers == 23
    assert names == {*weights}
    theirs = deep.state_dict()
    for name, weight in found.state_dict().items():
        assert torch.equal(weight, theirs[name])


def test_guess_prediction(tiny):
    """The best answers to almost pure noise for Gaussian latents, in both forms."""
    signal, noise = tiny.schedule.level(999)
    given = []

    def network(form):
        def answer(x, t, text):
            given.append(x)
            x0 = signal * x / (signal**2 + noise**2)
            eps = (x - signal * x0) / noise
            return SimpleNamespace(
                sample=eps if form == "epsilon" else signal * eps - noise * x0
            )

        return answer

    for form in ("epsilon", "v_prediction"):
        assert guess_prediction(network(form), torch.zeros(1, 77, 32)) == form
    assert torch.equal(*given)  # any model is asked by the same noise


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    (tmp_path / "other.safetensors").write_text("hello, this is not a checkpoint")
    assert "damaged" in refusal(tmp_path / "other.safetensors")


# Of Stable Diffusion 1.5, 2.x and SDXL base 1.0: weights of each part, and heads.
SHIPPED = {
    "sd1": ([859_520_964, 83_653_863, 123_060_480], 8),
    "sd2": ([865_910_724, 83_653_863, 340_387_840], 20),
    "sdxl": ([2_567_463_684, 83_653_863, 123_060_480, 694_659_840], 20),
}


@pytest.mark.parametrize("version", SHIPPED)
def test_shipped_configurations_are_the_real_sizes(version):
    counts, heads = SHIPPED[version]
    build = {
        "unet": UNet2DConditionModel.from_config,
        "vae": AutoencoderKL.from_config,
        "text_encoder": lambda config: CLIPTextModel(CLIPTextConfig(**config)),
        "text_encoder_2": lambda config: CLIPTextModelWithProjection(
            CLIPTextConfig(**config)
        ),
    }
    made = []
    with torch.device("meta"):
        for part in [*build][: len(counts)]:
            config = read_json(CHECKPOINTS / version / part / "config.json")
            made.append(build[part](config))
    assert [sum(p.numel() for p in part.parameters()) for part in made] == counts
    unet = made[0]
    assert unet.down_blocks[2].attentions[0].transformer_blocks[0].attn1.heads == heads


@pytest.mark.full
def test_finding_needs_no_torch_and_loading_no_xformers(tiny_folder):
    code = f"""
import sys
from regrain.editing.models.loading.load import find, load_backbone
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
    model = loaded(tiny_folder, device="cuda")
    assert model.dtype == torch.float16
    step, text = tiny.schedule.sampling(50)[10], tiny.embed(["a cat"])
    x0, eps = model.predict(latents.cuda(), step, text)
    assert x0.dtype == eps.dtype == torch.float32
    torch.testing.assert_close(
        eps.cpu(), tiny.predict(latents, step, text)[1], atol=2e-2, rtol=2e-2
    )

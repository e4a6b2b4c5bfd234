"""Every key that diffusers knows is honoured, or refused by name."""

import inspect
import re
import shutil

import diffusers
import pytest
import torch
import transformers
from damaged_models import refusal, rewrite
from json_files import write_json
from made_models import (
    loaded,
    write_small_model,
    write_tokenizer,
)
from transformers.activations import ACT2FN

from regrain.editing.errors import ModelError
from regrain.editing.models.files.config_keys import (
    ALLOWED,
    CLASSES,
    FLOW,
    HONOURED,
    OF_TEXT,
    SCHEDULER,
    check_keys,
    check_text_encoder,
)
from regrain.editing.models.files.configs import UNetConfig, read_config
from regrain.editing.models.files.schedulers import NEAREST
from regrain.editing.storage.ready import check_weights

UNET, VAE = "unet/config.json", "vae/config.json"
TEXT = "text_encoder/config.json"
LEVELS = "scheduler/scheduler_config.json"


@pytest.fixture
def folder(small_folder, tmp_path):
    """A small model that may be changed."""
    return shutil.copytree(small_folder, tmp_path / "m")


def keys_of(name):
    """The keys of a class of diffusers; of one that needs a package more, none."""
    kind = getattr(diffusers, name)
    taken = inspect.signature(kind.__init__).parameters.values()
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {one.name for one in taken if one.kind is plain and one.name != "self"}


def test_the_keys_of_schedulers_are_those_of_diffusers():
    found = set().union(*(keys_of(name) for name in NEAREST))
    assert HONOURED | SCHEDULER.keys() == found | {"_class_name"}
    assert not HONOURED & SCHEDULER.keys()


@pytest.mark.parametrize("name", ALLOWED)
def test_the_defaults_of_diffusers_are_allowed(name):
    defaults = inspect.signature(getattr(diffusers, name).__init__).parameters
    for key, allowed in ALLOWED[name].items():
        default = defaults[key].default
        for one in default if isinstance(default, tuple) else [default]:
            assert one in allowed, key


def test_what_a_unet_leaves_out_is_as_diffusers_has_it():
    defaults = inspect.signature(diffusers.UNet2DConditionModel.__init__).parameters
    unsaid = UNetConfig.model_validate({})
    for key in ("block_out_channels", "norm_num_groups", "layers_per_block"):
        default = defaults[key].default
        expected = list(default) if isinstance(default, tuple) else default
        assert getattr(unsaid, key) == expected


@pytest.mark.parametrize("name", OF_TEXT)
def test_what_transformers_writes_of_a_text_encoder_passes(name):
    written = getattr(transformers, name)().to_dict()
    for key, allowed in OF_TEXT[name].items():
        assert written.get(key) in allowed, key
    check_text_encoder(written, "it", name)


def test_activations_of_text_encoders_are_known_to_transformers():
    for allowed in (
        OF_TEXT["CLIPTextConfig"]["hidden_act"],
        OF_TEXT["UMT5Config"]["dense_act_fn"],
    ):
        assert set(allowed) <= ACT2FN.keys()


def test_a_weight_of_another_size_is_named_with_both(folder):
    rewrite(folder / VAE, block_out_channels=[8, 16])
    sizes = r"vae/ has \S+ of \[[\d, ]+\], config.json says \[[\d, ]+\]\. Download"
    assert re.search(sizes, refusal(folder))


# Of each part, the class and the values that it allows.
VALUES = [("scheduler", None, SCHEDULER), ("flow", None, FLOW)]
for part, (name, *_) in CLASSES.items():
    VALUES.append((part, name, ALLOWED[name]))
OTHERS = (True, 1, 3, 5, 20, 51, 999, 0.5, "other", ["other"], ["default", 7])


@pytest.mark.parametrize(("part", "name", "values"), VALUES)
def test_every_other_value_of_a_key_is_refused(part, name, values):
    """One value for another: a number, a word, a list of them."""
    for key, allowed in values.items():
        for value in allowed:
            check_keys({"_class_name": name, key: value}, part, "it")
        refused = [one for one in OTHERS if one not in allowed]
        assert len(refused) >= len(OTHERS) - 2
        for value in refused:
            with pytest.raises(ModelError, match=f"^model: it has {key} "):
                check_keys({"_class_name": name, key: value}, part, "it")


def test_configurations_are_read_as_powershell_writes_them(small_folder, folder):
    for place in (UNET, VAE, TEXT, LEVELS):
        text = (folder / place).read_text(encoding="utf-8")
        (folder / place).write_bytes(text.encode("utf-16"))
    read = loaded(folder)
    known = loaded(small_folder)
    assert (read.embed(["a cat"]).vectors == known.embed(["a cat"]).vectors).all()


def test_a_network_without_attention_is_refused(tmp_path):
    folder = write_small_model(tmp_path / "m", transformer_layers_per_block=0)
    assert "has no attention" in refusal(folder)


@pytest.mark.full
def test_keys_of_others_pass(folder):
    """Trainers write more, as of an average of weights."""
    rewrite(folder / UNET, decay=0.9999, optimization_step=1, gates=None)
    levels = {"tensor_format": "pt", "predict_epsilon": True, "shift": False}
    rewrite(folder / LEVELS, **levels)
    older = {"dropout": 0.0, "temperature": 1.0, "pruned_heads": {}, "prefix": None}
    rewrite(folder / TEXT, **older, is_decoder=False, return_dict=True)
    loaded(folder)
    assert read_config(folder / UNET, "m")["decay"] == 0.9999
    assert read_config(folder / LEVELS, "m")["predict_epsilon"]


def test_the_index_names_the_scheduler_and_what_is_not_used(folder):
    index = {
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "controlnet": ["diffusers", "ControlNetModel"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "motion_adapter": [None, None],
    }
    write_json(folder / "model_index.json", index)
    model = loaded(folder)
    assert "Euler" in model.other_scheduler.title
    assert model.notes == ("The model's controlnet is not used.",)


@pytest.mark.parametrize(
    ("width", "other"),
    [(torch.float16, "--dtype float32"), (torch.float32, "another model")],
)
def test_more_bits_are_advised_where_there_are_few(width, other):
    with pytest.raises(ModelError, match=f"again, or use {other}"):
        check_weights({"it": torch.tensor([torch.inf], dtype=width)}, "it")


def test_a_tokenizer_without_its_last_merge_is_refused(folder):
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    merges = write_tokenizer(folder / "tokenizer") / "merges.txt"
    merges.write_text("".join(merges.read_text().splitlines(keepends=True)[:-1]))
    assert "tokenizer/ lacks its vocabulary. Download it again." in refusal(folder)


@pytest.mark.full(but="tokenizer_config.json-utf-16")
@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("tokenizer.json", "utf-8-sig"),
        ("tokenizer_config.json", "utf-16"),
        ("vocab.json", "utf-16-le"),
        ("merges.txt", "utf-16"),
    ],
)
def test_texts_are_read_as_windows_writes_them(small_folder, name, encoding, folder):
    """As PowerShell does."""
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    write_tokenizer(folder / "tokenizer")
    read = loaded(small_folder).tokenizer
    file = folder / "tokenizer" / name
    if not file.exists():
        read.save_pretrained(folder / "tokenizer")
    file.write_bytes(file.read_text(encoding="utf-8").encode(encoding))
    again = loaded(folder).tokenizer
    assert again("A cat, 3 dogs").input_ids == read("A cat, 3 dogs").input_ids

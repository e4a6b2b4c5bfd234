"""Damages to folders of models, and the line with which a damaged one is refused."""

import shutil

import pytest
import torch
from json_files import read_json, write_json
from safetensors.torch import load_file, save_file

from regrain.editing.errors import ModelError
from regrain.editing.models.loading.load import load_backbone


def refusal(id):
    """The one line with which a model is refused."""
    with pytest.raises(ModelError) as caught:
        load_backbone(str(id))
    assert caught.value.field == "model"
    return caught.value.message


def refusal_of_copy(folder, copy, damage):
    """The one line with which a damaged copy of a folder is refused."""
    damage(shutil.copytree(folder, copy))
    return refusal(copy)


def rewrite(path, **changes):
    write_json(path, read_json(path) | changes)


def config(file, **changes):
    """A damage: other values in a configuration."""
    return lambda folder: rewrite(folder / file, **changes)


def holding(file, name):
    """A damage: a weight more."""

    def damage(folder):
        weights = load_file(folder / file) | {name: torch.zeros(2)}
        save_file(weights, folder / file, {"format": "pt"})

    return damage


def spoil(file):
    """Make a number of a file of weights no number."""
    weights = load_file(file)
    name = max(name for name in weights if weights[name].is_floating_point())
    weights[name].view(-1)[-1] = torch.nan
    save_file(weights, file, {"format": "pt"})


def lacking(file, name):
    """A damage: a weight less."""

    def damage(folder):
        weights = load_file(folder / file)
        del weights[name]
        save_file(weights, folder / file, {"format": "pt"})

    return damage

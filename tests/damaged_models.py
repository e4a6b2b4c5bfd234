"""Damages to folders of models, and the line with which a damaged one is refused."""

import shutil
from fnmatch import fnmatch

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


def rewrite(path, **changes):
    write_json(path, read_json(path) | changes)


def damage(folder, changes):
    """Damage a folder of a model: by the names of files and folders, other values in a
    configuration, "+" or "-" and the name of a weight more or less, "nan" for
    weights of which one is no number, another text, or None for what is not there."""
    for name, change in changes.items():
        path = folder / name
        if change is None:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        elif change == "nan":
            spoil(path)
        elif isinstance(change, dict):
            write_json(path, (read_json(path) if path.exists() else {}) | change)
        elif change[:2] in ("+ ", "- "):
            weights = load_file(path)
            sign, weight = change.split()
            if sign == "+":
                weights[weight] = torch.zeros(2)
            else:
                del weights[weight]
            save_file(weights, path, {"format": "pt"})
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(change)


def tensor(said):
    """A tensor by its sizes, and what it is full of or its type: "32 nan", "2 2 int8"."""
    sizes = [int(word) for word in said.split() if word.isdigit()]
    (kind,) = [word for word in said.split() if not word.isdigit()] or ["float32"]
    if kind in ("nan", "inf"):
        return torch.full(sizes, float(kind))
    return torch.zeros(sizes, dtype=getattr(torch, kind))


def reweighted(weights, more=None, less=""):
    """Weights with others by what `tensor` takes, and without those whose names match a
    pattern."""
    kept = {name: x for name, x in weights.items() if not fnmatch(name, less)}
    return kept | {name: tensor(said) for name, said in (more or {}).items()}


def spoil(file):
    """Make a number of a file of weights no number."""
    weights = load_file(file)
    name = max(name for name in weights if weights[name].is_floating_point())
    weights[name].view(-1)[-1] = torch.nan
    save_file(weights, file, {"format": "pt"})

"""The .yaml beside a single file: what it says of the noise and of the network's
output, as the programs that trained such files wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ModelError, shorten

_MAX_BYTES = 200_000
_PARAMETERIZATIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
# Of the second generation's, by the class that scales the network.
_SCALINGS = {"EpsScaling": "epsilon", "VScaling": "v_prediction"}
# Of the layer of a text encoder that is read, the names that mean what is done here.
_LAYERS = {
    "sd1": ("last",),
    "sd2": ("penultimate",),
    "sdxl": ("hidden", "penultimate"),
}
_HEADS = {"num_heads": (8, -1), "num_head_channels": (64, -1)}
_ZERO_SNR = "ZeroSNRDDPMDiscretization"
_LEVELS = {
    "linear_start": "beta_start",
    "linear_end": "beta_end",
    "timesteps": "num_train_timesteps",
    "scale_factor": "scaling_factor",
}


def read_sidecar(file: Path, version: str) -> dict[str, Any]:
    """Return what the .yaml beside a file of a version (see `version_of`) says, by the
    keys of scheduler_config.json, and as `scaling_factor` that of vae/config.json;
    nothing without one.

    Raises:
        ModelError: It cannot be read, or says something that is not supported.
    """
    found = [file.with_suffix(end) for end in (".yaml", ".yml")]
    path = next((one for one in found if one.exists()), None)
    if path is None:
        return {}
    import yaml

    check_regular(path, "model", ModelError)
    damaged = f"{shorten(path.name)} cannot be read. Correct or remove it."
    with boundary("model", damaged, ModelError):
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("too large")
        content = yaml.safe_load(path.read_bytes()) or {}
        if not isinstance(content, Mapping):
            raise ValueError("not an object")
        entries = [*_entries(content)]
    said: dict[str, Any] = {}
    for key, value in entries:
        said |= _said(key, value, path)
        allowed = _LAYERS[version] if key == "layer" else _HEADS.get(key, (value,))
        if value not in allowed:
            raise _refused(path, key, value)
    return said


def _entries(content: object) -> Iterator[tuple[str, object]]:
    """Yield the keys of an object, and of all objects in it, with their values; an
    object that stands at several places is entered once."""
    waiting = [content]
    entered = set()
    while waiting:
        inner = waiting.pop()
        if not isinstance(inner, Mapping) or id(inner) in entered:
            continue
        entered.add(id(inner))
        for key, value in inner.items():
            yield str(key), value
            waiting.append(value)


def _said(key: str, value: object, path: Path) -> dict[str, Any]:
    """Return what an entry says; a ModelError if it is not supported."""
    if key == "parameterization":
        if value not in _PARAMETERIZATIONS:
            raise _refused(path, key, value)
        return {"prediction_type": _PARAMETERIZATIONS[str(value)]}
    if key in _LEVELS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _refused(path, key, value)
        return {_LEVELS[key]: value}
    if key == "target":
        return _of_class(str(value).rpartition(".")[2], path)
    return {}


def _of_class(name: str, path: Path) -> dict[str, Any]:
    """Return what the name of a class says of the schedule."""
    if name in _SCALINGS:
        return {"prediction_type": _SCALINGS[name]}
    if name == _ZERO_SNR:
        return {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    if name.endswith("Scaling") or name.startswith("EDM"):
        raise _refused(path, "target", name)
    return {}


def _refused(path: Path, key: str, value: object) -> ModelError:
    said = f"{shorten(path.name)} has {key} {shorten(value)}, which is not supported"
    return ModelError("model", f"{said}. Use another model.")

"""What the head of a single file says of its text encoder."""

from pathlib import Path

import pytest

from regrain.editing.errors import ModelError
from regrain.editing.models.files.file_head import FileHead

NAMES = {
    "sd1": "cond_stage_model.transformer.text_model.embeddings",
    "sd2": "cond_stage_model.model.token_embedding.weight",
    "sdxl": "conditioner.embedders.0.transformer.text_model.embeddings",
}


def skipped(version, stated):
    metadata = {"modelspec.encoder_layer": stated} if stated else {}
    names = frozenset({NAMES[version]})
    return FileHead(Path("model.safetensors"), names, metadata).skipped_layers


@pytest.mark.parametrize(
    ("version", "stated", "layers"),
    [
        ("sd1", "", 0),
        ("sd1", "2", 1),
        ("sd2", "", 0),
        ("sd2", "2", 0),
        ("sdxl", "", 0),
        ("sdxl", "1", 0),  # which trainers write unheeded
        ("sdxl", "2", 0),
    ],
)
def test_layers_are_skipped_as_each_version_reads_them(version, stated, layers):
    assert skipped(version, stated) == layers


@pytest.mark.parametrize(
    ("version", "stated"),
    [("sd1", "0"), ("sd1", "-1"), ("sd2", "1"), ("sd2", "3"), ("sdxl", "3")],
)
def test_another_layer_is_refused(version, stated):
    with pytest.raises(ModelError, match=f"has encoder_layer '{stated}'"):
        skipped(version, stated)

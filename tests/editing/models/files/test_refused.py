"""Damaged folders of models: each is refused in a line, before weights are read where
it is not these that are damaged."""

import shutil
from pathlib import Path

import pytest
from damaged_models import damage, refusal
from json_files import read_json
from tables import rows

REFUSED = read_json(Path(__file__).with_name("refused.json"))
"""By the model, what is said of each damage."""


@pytest.mark.parametrize(("model", "said"), rows(REFUSED))
def test_a_damaged_folder_is_refused(model, said, request, tmp_path, monkeypatch):
    copy = shutil.copytree(request.getfixturevalue(model), tmp_path / "copy")
    damage(copy, REFUSED[model][said])
    if not any(word in said for word in ("reads", "weights", "NaN")):
        for room in ("wan.load", "weights.folder"):
            monkeypatch.setattr(
                f"regrain.editing.models.{room}.read_weights", pytest.fail
            )
    assert said in refusal(copy)

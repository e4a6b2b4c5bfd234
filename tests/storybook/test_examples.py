"""The shipped examples are those that the table makes."""

import json

import numpy as np
import pytest

from editing import load_project
from storybook import examples
from storybook.examples import EXAMPLES, TABLE, make


def test_every_example_is_in_the_table():
    assert sorted(TABLE) == sorted(path.name for path in EXAMPLES.iterdir())


@pytest.mark.parametrize("name", [name for name in TABLE if "no_masks" not in name])
def test_an_example_is_made_again(name, tmp_path, monkeypatch):
    """What is written, to the word; what is drawn, but for the last bits of another processor.

    Adapters are tuned for one step only, so their weights are not compared.
    """
    monkeypatch.setitem(examples.TUNING, "tune_steps", 1)
    make(name, tmp_path / name)
    ours, shipped = tmp_path / name, EXAMPLES / name
    files = {p.relative_to(ours) for p in ours.rglob("*") if p.is_file()}
    assert files == {p.relative_to(shipped) for p in shipped.rglob("*") if p.is_file()}
    for file in (f for f in files if f.suffix == ".json"):
        assert json.loads((shipped / file).read_text()) == json.loads((ours / file).read_text()), file
    a, b = load_project(ours), load_project(shipped)
    frames = [request.clip.read(0, len(request.clip)).astype(float) for request in (a, b)]
    assert np.abs(frames[0] - frames[1]).mean() < 0.5
    if a.labels is not None:
        assert (a.labels == b.labels).mean() > 0.999

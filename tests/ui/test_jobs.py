"""What a page may ask a model for: nothing is downloaded and no path opened for a stranger."""

from fractions import Fraction

import numpy as np
import pytest

from editing import ArrayClip, EditRequest, Region
from editing.errors import RequestError
from ui.media import Media
from ui.runs import Runs


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of models that holds one LoRA and one file with a name no project could give."""
    folder = tmp_path / "models" / "loras"
    folder.mkdir(parents=True)
    for name in ("ink", "a b"):
        (folder / f"{name}.safetensors").write_bytes(b"")
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path / "models"))
    return folder


def asking(*loras, **params):
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[:, 8:40, 8:40] = 1
    clip = ArrayClip(np.zeros((1, 64, 64, 3), np.uint8), Fraction(8))
    return EditRequest(clip, labels, (Region("cat", 1, prompt="a fox"),), loras=loras, params=params)


def test_loras_of_the_folder_are_offered_and_no_others_taken(shelf, tmp_path):
    ran = []

    def edit(request):
        ran.append(request)
        yield from ()

    runs = Runs(edit, {}, Media(tmp_path / "media"), tmp_path)
    assert runs.loras == ["loras/ink"]
    for stranger in ("owner/name", f"{shelf}/ink.safetensors", "loras/a b"):
        with pytest.raises(RequestError, match="^loras: .*loras/ink"):
            next(runs.run(asking(stranger), "page"))
    assert not ran
    with pytest.raises(RuntimeError, match="without a result"):  # the fake editor's
        next(runs.run(asking("loras/ink@0.5"), "page"))
    assert ran[0].loras == ("loras/ink@0.5",)


def test_control_networks_are_the_built_in_one_and_those_of_the_folder(shelf, tmp_path):
    ran = []

    def edit(request):
        ran.append(request)
        yield from ()

    runs = Runs(edit, {}, Media(tmp_path / "media"), tmp_path)
    for stranger in ("owner/name", str(shelf), "storybook"):
        with pytest.raises(RequestError, match="^params.control: .*allowed: storybook/canny"):
            next(runs.run(asking(control=f"canny={stranger}"), "page"))
    assert not ran
    with pytest.raises(RuntimeError, match="without a result"):
        next(runs.run(asking(control="canny=storybook/canny@0.7"), "page"))
    assert len(ran) == 1

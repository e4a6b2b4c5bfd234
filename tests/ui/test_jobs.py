"""What a page may ask a model for: nothing is downloaded and no path opened for a stranger."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from editing import ArrayClip, EditRequest, Region
from editing.errors import RequestError
from editing.events import EditResult, Finished
from ui.catalogue import Catalogue
from ui.clips import open_upload
from ui.document import Document
from ui.jobs import Job, Jobs
from ui.media import Media


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

    jobs = Jobs(edit, Catalogue({}, tmp_path), Media(tmp_path / "media"))
    assert jobs.catalogue.loras == ["loras/ink"]
    for stranger in ("owner/name", f"{shelf}/ink.safetensors", "loras/a b"):
        with pytest.raises(RequestError, match="^loras: .*loras/ink"):
            next(jobs.run(Job(asking(stranger), "page")))
    assert not ran
    with pytest.raises(RuntimeError, match="without a result"):  # the fake editor's
        next(jobs.run(Job(asking("loras/ink@0.5"), "page")))
    assert ran[0].loras == ("loras/ink@0.5",)


def test_control_networks_are_the_built_in_one_and_those_of_the_folder(shelf, tmp_path):
    ran = []

    def edit(request):
        ran.append(request)
        yield from ()

    jobs = Jobs(edit, Catalogue({}, tmp_path), Media(tmp_path / "media"))
    for stranger in ("owner/name", str(shelf), "storybook"):
        with pytest.raises(
            RequestError,
            match="^params.control: .*Use storybook/canny|^params.control: .*Choose from storybook/canny",
        ):
            next(jobs.run(Job(asking(control=f"canny={stranger}"), "page")))
    assert not ran
    with pytest.raises(RuntimeError, match="without a result"):
        next(jobs.run(Job(asking(control="canny=storybook/canny@0.7"), "page")))
    assert len(ran) == 1


def test_the_project_of_a_run_keeps_whole_masks_that_overlap(tmp_path):
    def edit(request):
        frames = request.clip.read(0, 1)
        yield Finished(EditResult(frames, frames, frames, request.edited_mask, {}), {})

    whole = np.zeros((1, 64, 64), bool)
    whole[:, 4:50, 4:50] = True
    upper = asking()
    regions = (*upper.regions, replace(upper.regions[0], name="dog", label=2))
    labels = np.where(upper.labels == 1, 1, 2 * whole).astype(np.uint8)
    request = replace(upper, regions=regions, labels=labels)
    jobs = Jobs(edit, Catalogue({}, tmp_path), Media(tmp_path / "media"))
    (*_, saved) = jobs.run(Job(request, "page", whole={1: request.labels == 1, 2: whole}))
    opened, _ = open_upload(Path(saved.files["project.zip"]), tmp_path / "again")
    document = Document(opened)
    assert (document.mask(2, 0) == whole[0]).all()
    assert (opened.request.labels == labels).all()

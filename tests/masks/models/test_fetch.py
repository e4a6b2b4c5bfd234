"""Fetching a checkpoint, from a hub on this machine."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_hub import reach, serve_hub
from huggingface_hub.utils import close_session
from published_sam import write_sam2

from regrain.editing.errors import ModelError
from regrain.editing.storage.fetching import Fetched, list_files
from regrain.masks.models import checkpoints
from regrain.masks.models.fetch import SUGGESTED, fetch, why_not


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_sam2(tmp_path_factory.mktemp("published") / "repository")


@pytest.fixture(scope="module")
def served(published):
    with serve_hub(published) as hub_and_address:
        yield hub_and_address


@pytest.fixture
def online(served, tmp_path, monkeypatch):
    """A hub that can be reached and was asked nothing, and an empty folder of
    models."""
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("SPACE_ID", raising=False)
    hub, address = served
    hub.asked, hub.status = [], 200
    reach(monkeypatch, address)
    return hub


def test_json_and_safetensors_of_one_revision_arrive(online, published, tmp_path):
    *_, last = fetch()
    models = tmp_path / "models"
    assert [path.name for path in models.iterdir()] == [SUGGESTED.name]
    contents, fetched = (
        {file.name: file.read_bytes() for file in folder.iterdir()}
        for folder in (published, models / SUGGESTED.name)
    )
    assert fetched == contents
    total = sum(map(len, contents.values()))
    assert last == Fetched(total, total)
    assert not any(".pt" in path or "more.json" in path for path in online.asked)
    assert [one.name for one in checkpoints.checkpoints()] == [SUGGESTED.name]


def test_a_file_of_unknown_size_counts_nothing():
    files = [SimpleNamespace(rfilename="a", size=3)]
    files += [SimpleNamespace(rfilename="b", size=None)]
    assert list_files(SimpleNamespace(siblings=files)) == {"a": 3, "b": 0}
    assert list_files(SimpleNamespace(siblings=None)) == {}


def test_stopping_leaves_nothing(online, tmp_path):
    online.hold.clear()
    steps = fetch()
    for step in steps:
        if step.total != SUGGESTED.size and any(
            "model.safetensors" in path for path in online.asked
        ):
            break
    steps.close()  # type: ignore[attr-defined]
    online.hold.set()
    nothing_is_left(tmp_path / "models")


def nothing_is_left(models: Path):
    """In the end: the thread that was stopped may still tidy up."""
    end = time.monotonic() + 60
    while list(models.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert list(models.iterdir()) == []


def test_what_is_stopped_while_it_is_read_is_not_put_in_place(
    online, tmp_path, monkeypatch
):
    comes, stopped = threading.Event(), threading.Event()

    def read(_):
        comes.set()
        stopped.wait(60)

    monkeypatch.setattr("regrain.masks.models.fetch.read", read)
    steps = fetch()
    while not comes.is_set():
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    stopped.set()
    nothing_is_left(tmp_path / "models")


FAULTS = {
    404: r"cannot be downloaded \(Client error '404 Not Found'\). Try again",
    401: r"cannot be downloaded \(Client error '401 Unauthorized'\). Try again",
    500: "cannot be downloaded .*Try again",
}  # status, or what else is wrong
FAULTS |= {"away": "the hub cannot be reached. Go online"}
FAULTS |= {"no weights": "has no .safetensors weights. Download the"}


@pytest.mark.parametrize(("fault", "said"), FAULTS.items())
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    online, fault, said, tmp_path, monkeypatch
):
    if fault == "away":
        reach(monkeypatch, "http://127.0.0.1:9")
    elif fault == "no weights":
        monkeypatch.setattr("regrain.masks.models.fetch.PATTERNS", ("config.json",))
    else:
        online.status = fault
    with pytest.raises(ModelError, match=f"^models?: .*{said}"):
        list(fetch())
    assert list((tmp_path / "models").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(online, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(
        ModelError,
        match=r"models: REGRAIN_MODELS cannot be written. Choose another",
    ):
        list(fetch())
    assert online.asked == []


def test_where_nothing_may_be_fetched(online, monkeypatch):
    assert why_not() == ""
    monkeypatch.setenv("SPACE_ID", "someone/regrain")
    assert "Space" in why_not()
    with pytest.raises(ModelError, match="Visitors of a Space cannot fetch models"):
        next(iter(fetch()))
    monkeypatch.delenv("SPACE_ID")
    monkeypatch.delenv("REGRAIN_MODELS")
    assert why_not().startswith("Set REGRAIN_MODELS to a folder")
    code = "from regrain.masks.models.fetch import why_not; print(why_not())"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "REGRAIN_MODELS": "x"}
    root = Path(__file__).parents[3]
    said = subprocess.check_output(
        [sys.executable, "-c", code], text=True, cwd=root, env=environment
    )
    assert "HF_HUB_OFFLINE" in said


def test_certificates_that_are_not_there_are_named(online, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    close_session()
    said = r"downloaded \(\$SSL_CERT_FILE names no file: correct it, or unset it\)"
    with pytest.raises(ModelError, match=said):
        [*fetch()]
    monkeypatch.delenv("SSL_CERT_FILE")
    assert [*fetch()]

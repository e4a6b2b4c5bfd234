"""The choice of what a model predicts, in a real Chromium."""

import json
import zipfile

import pytest
import torch
from browser import ROOT, Server, choose_in_menu, open_example, saved, unfold, wait
from safetensors.torch import save_file

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A page with two single files, one of which says what it predicts."""
    root = tmp_path_factory.mktemp("predictions")
    models = root / "models"
    models.mkdir()
    for name, mark in (("silent", "a"), ("saying", "v_pred")):
        save_file({mark: torch.zeros(1)}, models / f"{name}.safetensors")
    there = {"REGRAIN_MODELS": str(models)}
    server = Server([ROOT / "tests" / "fake_app.py", root], root, **there)
    yield server
    server.stop()


def test_it_is_asked_of_a_file_that_does_not_say(server, open_page, tmp_path):
    page = open_page(server)
    open_example(page, "01_two_discs")
    unfold(page, "#settings")
    choice = page.locator("#prediction")

    def choose(model):
        page.click("#model input")
        page.get_by_role("option", name=model).click()

    def kept():
        project = saved(page, lambda: choose_in_menu(page, "Save"), tmp_path)
        with zipfile.ZipFile(project) as archive:
            return json.loads(archive.read("project.json")).get("prediction")

    assert not choice.is_visible()
    choose("silent")
    choice.wait_for()
    choice.locator("input").click()
    page.get_by_role("option", name="Velocity (v)").click()
    wait(lambda: kept() == "v_prediction", 30, "it is kept")
    choose("saying")
    choice.wait_for(state="hidden")
    wait(lambda: kept() is None, 30, "it is gone")

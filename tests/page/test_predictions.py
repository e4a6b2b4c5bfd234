"""The choice of what a model predicts, in a real Chromium."""

import pytest
import torch
from browser import choose_model, open_example, project_of, serving, unfold, wait
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
    yield from serving(root, REGRAIN_MODELS=str(models))


def test_it_is_asked_of_a_file_that_does_not_say(server, open_page, tmp_path):
    page = open_page(server)
    open_example(page, "01_two_discs")
    unfold(page, "#settings")
    choice = page.locator("#prediction")

    def kept():
        return project_of(page, tmp_path).get("prediction")

    assert not choice.is_visible()
    choose_model(page, "silent")
    choice.wait_for()
    choice.locator("input").click()
    page.get_by_role("option", name="Velocity (v)").click()
    wait(lambda: kept() == "v_prediction", "it is kept")
    choose_model(page, "saying")
    choice.wait_for(state="hidden")
    wait(lambda: kept() is None, "it is gone")

"""Models that are dropped on the page reach the folder of models whole, or not at
all."""

import anyio
import pytest
import torch
from fake_app import tuned_model
from safetensors.torch import save
from starlette.testclient import TestClient

from regrain.editing.models.adapters import save_adapter
from regrain.ui.server import dropped_models

WHOLE = {
    "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(2),
    "first_stage_model.encoder.conv_in.weight": torch.zeros(2),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": torch.zeros(
        2
    ),
}
LORA = {"unet.x.lora_A.weight": torch.zeros(2)}
HERE = "http://127.0.0.1:7860"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of models of one's own machine; it does not exist yet."""
    for name in ("SPACE_ID", "GRADIO_SERVER_NAME", "GRADIO_SHARE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "models"
    monkeypatch.setenv("REGRAIN_MODELS", str(folder))
    return folder


def put(name, content, address=HERE, **headers):
    client = TestClient(dropped_models.take, base_url=address)
    answer = client.put(
        dropped_models.ADDRESS, params={"name": name}, content=content, headers=headers
    )
    return answer.status_code, answer.json()


def left(folder):
    return [entry.name for entry in folder.rglob("*")] if folder.exists() else []


def test_a_checkpoint_is_taken_whole(folder):
    assert dropped_models.can_take()
    content = save(WHOLE)
    given = put("mine.safetensors", content, origin=HERE)
    assert given == (200, {"name": "mine.safetensors"})
    assert left(folder) == ["mine.safetensors"]
    assert (folder / "mine.safetensors").read_bytes() == content
    status, said = put("mine.safetensors", save(WHOLE))
    assert status == 400
    assert "'mine.safetensors' is in the folder already" in said["error"]


def test_what_is_no_model_and_no_lora_is_told_where_it_belongs(folder):
    status, said = put("a_text_encoder.safetensors", save({"x.weight": torch.zeros(2)}))
    assert status == 400
    assert "'a_text_encoder.safetensors' has no UNet" in said["error"]
    # whole: a long line is cut in its middle
    assert "checkpoint. A LoRA can be added so; for adapters and SAMs" in said["error"]
    assert left(folder) == []


def test_a_lora_goes_to_its_folder(folder):
    content = save(LORA)
    given = put("mine.safetensors", content)
    assert given == (200, {"name": "loras/mine.safetensors"})
    assert left(folder) == ["loras", "mine.safetensors"]
    status, said = put("mine.safetensors", content)
    assert status == 400
    assert "'mine.safetensors' is there already" in said["error"]


def test_a_tuned_model_lies_beside_checkpoints(folder, tmp_path):
    file = tmp_path / "tuned.safetensors"
    save_adapter(tuned_model(steps=3), file)
    given = put("tuned.safetensors", file.read_bytes())
    assert given == (200, {"name": "tuned.safetensors"})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.safetensors", b"broken", "'a.safetensors' is damaged"),
        ("a.safetensors", save(WHOLE)[:-4], "'a.safetensors' is damaged"),
        ("a.safetensors", save(LORA | {"oft_x": torch.zeros(2)}), "which is not read"),
        ("a.ckpt", save(WHOLE), "'a.ckpt' is no .safetensors file"),
        ("sam.pth", save(WHOLE), "Drop the same weights as .safetensors."),
        ("../a.safetensors", save(WHOLE), "cannot be the name of a model"),
        (".a.safetensors", save(WHOLE), "cannot be the name of a model"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_name_and_leaves_nothing(
    folder, name, content, said
):
    status, answer = put(name, content)
    assert status == 400
    assert said in answer["error"]
    assert left(folder) == []


@pytest.mark.parametrize(
    ("address", "headers"),
    [("http://rebound.example", {}), (HERE, {"origin": "http://evil.example"})],
)
def test_other_pages_of_the_browser_are_refused(folder, address, headers):
    status, answer = put("a.safetensors", save(WHOLE), address, **headers)
    assert (status, left(folder)) == (400, [])
    assert "from this machine alone" in answer["error"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SPACE_ID", "a/b"), ("GRADIO_SERVER_NAME", "0.0.0.0"), ("REGRAIN_MODELS", "")],
)
def test_visitors_and_a_machine_without_a_folder_are_refused(
    folder, monkeypatch, variable, value
):
    monkeypatch.setenv(variable, value)
    assert not dropped_models.can_take()
    status, _ = put("a.safetensors", save(WHOLE))
    assert (status, left(folder)) == (400, [])


@pytest.mark.parametrize("last", ["http.request", "http.disconnect"])
def test_an_upload_that_is_given_up_or_refused_leaves_nothing(folder, last):
    """The body of one that is refused is read, or a browser would not hear of it."""
    parts = [
        {"type": "http.request", "body": save(WHOLE)[:50], "more_body": True},
        {"type": last, "body": save(WHOLE)[50:]},
    ]
    refused = last == "http.request"
    if refused:
        folder.mkdir()
        (folder / "a.safetensors").write_bytes(b"mine")
    scope = {
        "type": "http",
        "method": "PUT",
        "path": dropped_models.ADDRESS,
        "query_string": b"name=a.safetensors",
        "headers": [(b"host", b"127.0.0.1:7860")],
    }

    async def receive():
        return parts.pop(0)

    answered = []

    async def send(message):
        answered.append(message)

    anyio.run(dropped_models.take, scope, receive, send)
    assert parts == []
    assert bool(answered) == refused
    assert left(folder) == ["a.safetensors"] * refused
    if refused:
        assert (folder / "a.safetensors").read_bytes() == b"mine"

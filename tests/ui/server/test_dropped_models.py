"""Models that are dropped on the page reach the folder of models whole, or not at
all."""

from types import SimpleNamespace

import anyio
import pytest
import torch
from fake_app import tuned_model
from safetensors.torch import save
from starlette.testclient import TestClient

from regrain.editing.models.adapters import save_adapter
from regrain.editing.models.loading.load import local_models
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.handlers import model_handlers
from regrain.ui.handlers.model_handlers import ModelHandlers
from regrain.ui.server import dropped_models
from regrain.ui.session.session import Session
from regrain.ui.values.mask_models import click_models
from regrain.ui.work.catalogue import Catalogue

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


IMAGES = {
    "image_proj.proj.weight": torch.zeros(8, 4),
    "image_proj.norm.weight": torch.zeros(2),
    "image_proj.norm.bias": torch.zeros(2),
    "image_proj.proj.bias": torch.zeros(8),
    "ip_adapter.1.to_k_ip.weight": torch.zeros(2, 2),
    "ip_adapter.1.to_v_ip.weight": torch.zeros(2, 2),
}
MOTION_LORA = {"down.motion_modules.0.to_q.lora_A.weight": torch.zeros(2)}
MOTION = {"down_blocks.0.motion_modules.0.proj_in.weight": torch.zeros(2)}


FIRST_SAM = {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 1)}
OTHER_SAM = {"sam_mask_decoder.iou_token.weight": torch.zeros(2)}
_ENCODER = "vision_encoder.backbone"
SAM_2 = {
    f"{_ENCODER}.patch_embed.projection.weight": torch.zeros(96, 1),
    "occlusion_spatial_embedding_parameter": torch.zeros(1),
    **{f"{_ENCODER}.blocks.{i}.bias": torch.zeros(1) for i in range(12)},
}


@pytest.mark.parametrize(
    ("weights", "published", "title"),
    [
        (FIRST_SAM, "sam_vit_b", "SAM ViT-B"),
        (SAM_2, "sam2.1-hiera-tiny", "SAM 2.1 tiny"),
    ],
)
def test_a_sam_masks_from_the_next_click_on(
    folder, tmp_path, monkeypatch, open_clip, weights, published, title
):
    content = save(weights)
    given = put("mine.safetensors", content)
    assert given == (200, {"name": "mine/model.safetensors"})
    assert put("mine.safetensors", content)[0] == 400
    # By its path, under the name of what is published.
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    assert dropped_models.linked(file) == f"{published}/model.safetensors"
    assert not {"mine.safetensors", "model.safetensors"} & {*local_models()}
    assert sorted(click_models("cuts")) == sorted(["cuts", "mine", published])
    visits = SimpleNamespace(find=lambda _: Session(open_clip()))
    hub = SimpleNamespace(allowed=lambda: None)
    known = Catalogue({}, ASSETS / "storybook")
    handlers = ModelHandlers(known, visits, None, None, hub, None)
    monkeypatch.setattr(model_handlers, "page_of", lambda _: "")
    event = SimpleNamespace(_data={"id": f"{published}/model.safetensors"})
    shown = handlers.use([], "storybook", event, None)
    assert (shown["hub"].state, shown["hub"].id) == ("done", title)
    who = shown["canvas"].who
    assert {"mine", published} < {one.name for one in who.choices}
    assert who.usual in ("mine", published)
    assert "fetch" in shown


@pytest.mark.parametrize(
    ("weights", "place"), [(LORA, "loras"), (IMAGES, "pictures"), (MOTION, "motion")]
)
def test_what_is_added_to_a_model_goes_to_its_folder(folder, weights, place):
    content = save(weights)
    assert put("mine.safetensors", content) == (
        200,
        {"name": f"{place}/mine.safetensors"},
    )
    assert left(folder) == [place, "mine.safetensors"]
    status, said = put("mine.safetensors", content)
    assert status == 400
    assert "'mine.safetensors' is there already" in said["error"]


@pytest.mark.parametrize(
    ("weights", "place"), [(LORA, "loras"), (IMAGES, "pictures"), (MOTION, "motion")]
)
def test_what_is_added_to_a_model_is_used_by_its_path(
    folder, weights, place, tmp_path, monkeypatch
):
    file = tmp_path / "mine.safetensors"
    file.write_bytes(save(weights))
    hub = SimpleNamespace(allowed=lambda: None)
    monkeypatch.setattr(ModelHandlers, "_offered", lambda *_: [])
    monkeypatch.setattr(ModelHandlers, "session", lambda *_: None)
    monkeypatch.setattr(ModelHandlers, "cards", lambda *_: {})
    known = Catalogue({}, ASSETS / "storybook")
    handlers = ModelHandlers(known, None, None, None, hub, None)
    monkeypatch.setattr(ModelHandlers, "added", lambda _, names: {"added": names})
    monkeypatch.setattr(model_handlers, "offers_view", lambda *_: {})
    event = SimpleNamespace(_data={"id": str(file)})
    (listed,) = (shown["hub"] for shown in handlers.ask(event, None))
    assert [one.id for one in listed.local] == [str(file)]
    assert place in listed.local[0].facts
    for _ in range(2):  # the same again
        done = handlers.use([], "storybook", event, None)
        assert done["added"] == [f"{place}/mine@1"]
        assert left(folder) == [place, "mine.safetensors"]
    (folder / place / "mine.safetensors").unlink()
    (folder / place / "mine.safetensors").write_bytes(b"another")
    refused = handlers.use([], "storybook", event, None)["hub"]
    assert f"Another 'mine.safetensors' is in {place}/" in refused.text
    monkeypatch.setenv("SPACE_ID", "a/b")
    (listed,) = (shown["hub"] for shown in handlers.ask(event, None))
    assert (listed.state, len(listed.local)) == ("error", 0)


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
        ("a.safetensors", save({"x.weight": torch.zeros(2)}), "has no UNet"),
        ("a.safetensors", save(LORA | {"oft_x": torch.zeros(2)}), "which is not read"),
        ("a.safetensors", save(MOTION_LORA), "which is not read"),
        ("a.ckpt", save(WHOLE), "'a.ckpt' is no .safetensors file"),
        ("sam.pth", save(WHOLE), "Drop the same weights as .safetensors."),
        ("a.safetensors", save(OTHER_SAM), "is a SAM in a form that is not read"),
        ("../a.safetensors", save(WHOLE), "cannot be the name of a model"),
        (".a.safetensors", save(WHOLE), "cannot be the name of a model"),
        ("", save(WHOLE), "is no .safetensors file"),
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

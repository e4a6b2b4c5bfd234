"""Caches of the hub of which files were removed: what is left are links to nothing."""

import shutil
from pathlib import Path

import pytest
from fake_hub import SHA
from huggingface_hub import constants
from made_models import write_control_net
from made_motion import write_adapter
from made_pictures import write_encoder, write_picture_adapter, write_reader

from regrain.editing.errors import EditingError
from regrain.editing.models.files.hub import is_here
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.pictures.picture_file import PictureFile
from regrain.editing.models.unet.control_net import load_control_net
from regrain.editing.models.weights.motion import MotionFile
from regrain.editing.verdict.crop_reader import CropReader


def write_cache(cache: Path, source: Path, id: str) -> Path:
    """Lay out a folder as the hub's client does: links to blobs. Return the folder of
    links."""
    place = cache / f"models--{id.replace('/', '--')}"
    links = place / "snapshots" / SHA
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(SHA)
    (place / "blobs").mkdir()
    for number, file in enumerate(sorted(source.rglob("*.*"))):
        blob = place / "blobs" / str(number)
        shutil.copy(file, blob)
        link = links / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return links


def write_picture_reader(place, small):
    folder = write_encoder(place)
    (folder / "models").mkdir()
    (folder / "image_encoder").rename(folder / "models" / "image_encoder")
    file = folder / "models" / "ip-adapter_sd15.safetensors"
    write_picture_adapter(file, small.unet, "plain")
    return folder


def read_pictures(id, _small):
    file = PictureFile(f"{id}/models" if Path(id).is_absolute() else id)
    file.read()
    assert file.encoder


# What writes a folder of a kind, what reads it, and files that must be there.
KINDS = {
    "model": (
        lambda place, small: shutil.copytree(Path(small.id), place),
        lambda id, small: load_backbone(id),
        (
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "text_encoder/model.safetensors",
            "tokenizer/tokenizer_config.json",
            "scheduler/scheduler_config.json",
        ),
    ),
    "motion": (
        lambda place, small: write_adapter(place, small.unet) and place,
        lambda id, small: MotionFile(id),
        ("config.json", "diffusion_pytorch_model.safetensors"),
    ),
    "control": (
        lambda place, small: write_control_net(place, small.unet, 0.1, (8, 8)),
        load_control_net,
        ("config.json", "diffusion_pytorch_model.safetensors"),
    ),
    "reader": (
        lambda place, small: write_reader(place, words=["a"]),
        lambda id, small: CropReader(id).check(),
        ("config.json", "tokenizer.json", "clear/model.safetensors", "words.json"),
    ),
    "picture": (
        write_picture_reader,
        read_pictures,
        ("models/ip-adapter_sd15.safetensors", "models/image_encoder/config.json"),
    ),
}


@pytest.mark.parametrize("by_path", [False, True], ids=["by id", "by path"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_link_to_nothing_names_the_part_and_to_download_it(
    kind, by_path, small, small_folder, tmp_path, monkeypatch
):
    write, read, parts = KINDS[kind]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    source = write(tmp_path / "source", small)
    links = write_cache(tmp_path / "hub", source, "owner/mine")
    for part in parts:
        blob = (links / part).resolve()
        blob.rename(blob.with_name("away"))
        with pytest.raises(EditingError) as caught:
            read(str(links) if by_path else "owner/mine", small)
        said = caught.value.message
        assert "link to nothing. Download it again" in said, said
        assert Path(part).name in said
        blob.with_name("away").rename(blob)
    read(str(links) if by_path else "owner/mine", small)


def test_a_file_that_is_one_is_said_to_be_one(tmp_path, own_models):
    (tmp_path / "mine.safetensors").symlink_to(tmp_path / "gone")
    for name in ("mine", "mine.safetensors", str(tmp_path / "mine.safetensors")):
        for read in (load_backbone, MotionFile, PictureFile, CropReader):
            with pytest.raises(EditingError, match="link to nothing. Download it"):
                read(name)


def test_files_that_nothing_reads_may_be_gone(small_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    links = write_cache(tmp_path / "hub", small_folder, "owner/mine")
    for name in ("README.md", "unet/weights.bin", "v1-5.ckpt"):
        (links / name).symlink_to(links / "gone")
    assert load_backbone(str(links))
    assert load_backbone("owner/mine")


def test_a_part_that_is_missing_is_named(small_folder, tmp_path):
    folder = shutil.copytree(small_folder, tmp_path / "mine")
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(EditingError, match=r"vae/config\.json does not exist\. Down"):
        load_backbone(str(folder))


def test_an_index_without_parts_is_no_model_that_is_here(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text("{}")
    write_cache(tmp_path / "hub", tmp_path / "model", "owner/name")
    assert not is_here("owner/name")

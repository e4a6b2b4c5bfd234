"""What a library raises becomes one line of ours wherever it enters: of the hub's
client at every place that takes a name, of readers of files at every kind of file."""

import errno
import inspect
import re
from copy import deepcopy
from pathlib import Path
from unittest.mock import Mock

import av
import httpx
import huggingface_hub
import pytest
import torch
from commands import command, last_error
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import errors as hub_errors
from made_clips import moving, write_clip
from made_models import write_control_net
from made_motion import write_adapter
from made_pictures import (
    write_encoder,
    write_picture,
    write_picture_adapter,
    write_reader,
)
from made_projects import write_project
from published_sam import write_sam2
from safetensors import SafetensorError
from safetensors.torch import save_file
from test_advice import ADVICE
from transformers.utils import logging as transformers_logging

from regrain.editing.__main__ import main
from regrain.editing.cli.batch import edit_on_ray
from regrain.editing.errors import EditingError
from regrain.editing.media.mask_files import read_labels, read_regions
from regrain.editing.media.reading import open_clip
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.hub import fetch, is_here
from regrain.editing.models.files.location import ModelLocation
from regrain.editing.models.files.lora_file import find_lora
from regrain.editing.models.loading.build import load as load_now
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.pictures.picture_file import PictureFile
from regrain.editing.models.unet.control_net import _load as load_net, load_control_net
from regrain.editing.models.weights.lora import add_loras
from regrain.editing.models.weights.motion import MotionFile
from regrain.editing.request.project import load_project, save_project
from regrain.editing.storage.safetensors_files import read_weights
from regrain.editing.verdict.crop_reader import CropReader
from regrain.masks.__main__ import main as masks
from regrain.masks.models import checkpoints
from regrain.masks.models.fetch import fetch as fetch_sam

ID = "owner/name"
# Whatever takes the name of a model of the hub.
ENTRANCES = {
    "model": load_backbone,
    "reader": CropReader,
    "lora": find_lora,
    "motion": MotionFile,
    "picture": PictureFile,
    "control": lambda id: load_control_net(id, Mock()),
}
REFUSED = ("owner/name.git", "owner/a--b", "owner/a..b", "owner/name-", f"o/{'n' * 97}")
# The functions of its client that are called.
CALLED = ("snapshot_download", "try_to_load_from_cache", "HfApi.model_info")


def of_the_hub():
    """Each kind of error that the hub's client has, and what passes through it."""
    answer = httpx.Response(418, request=httpx.Request("GET", "https://hub"))
    for name, kind in inspect.getmembers(hub_errors, inspect.isclass):
        if issubclass(kind, Exception):
            error = kind.__new__(kind, f"{name} inside")
            error.response = answer
            yield error
    yield OSError(errno.ENOSPC, "No space left on device", "/place/of/mine")
    yield PermissionError(errno.EACCES, "Permission denied", "/place/of/mine")
    yield httpx.ReadTimeout("timed out")
    yield RuntimeError("Data processing error: CAS service error")
    yield ValueError("Invalid metadata")
    yield UnicodeDecodeError("utf-8", b"x", 0, 1, "invalid start byte")


OF_THE_HUB = [*of_the_hub()]


def one_line(enter, *given) -> EditingError:
    with pytest.raises(EditingError) as caught:
        enter(*given)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("enter", ENTRANCES.values(), ids=ENTRANCES)
def test_a_name_that_the_hub_refuses_was_not_found(name, enter):
    assert "was not found" in one_line(enter, name).message


@pytest.mark.parametrize("error", OF_THE_HUB, ids=lambda error: type(error).__name__)
def test_whatever_the_hub_raises_names_the_model_and_what_to_do(
    error, monkeypatch, tmp_path
):
    for called in CALLED:
        target = f"huggingface_hub.{called}"
        monkeypatch.setattr(target, Mock(side_effect=error))
    for enter in (*ENTRANCES.values(), facts_of, fetch):
        said = one_line(enter, ID)
        assert said.message.startswith(f"'{ID}' "), said
        assert re.search(
            r"Try again|Go online|Check the|Accept its|Use one", said.message
        )
        assert "/place" not in said.message
    assert not is_here(ID)
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert one_line(list, fetch_sam()).message.startswith("'facebook/sam2.1-hiera-tiny")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("x")])
def test_doctor_says_that_a_cache_cannot_be_read(error, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "scan_cache_dir", Mock(side_effect=error))
    assert main(["doctor"]) == 0
    assert "the hub's cache cannot be read (" in capsys.readouterr().out


def test_every_option_refuses_it_in_a_line(tmp_path, capsys):
    project = write_project(tmp_path / "project", source_prompt="a cat")
    (name,) = REFUSED[:1]
    picture = tmp_path / "picture.png"
    write_picture(picture)
    options = [
        ["--model", name],
        ["--reader", name],
        ["--lora", name],
        ["--motion", name],
        ["--picture", picture, "--picture-adapter", name],
        ["--method", "infedit", "--set", f"control=canny={name}"],
        ["--adapter", name],
    ]
    run = command(main)
    for given in options:
        assert run("run", project, "-o", tmp_path / "out", *given) == 2, given
        line = last_error(capsys)
        assert line.startswith("error: ")
        assert f"'{name}' was not found" in line
        assert not (tmp_path / "out").exists()
    clip = tmp_path / "project" / "clip.mkv"
    track = command(masks)
    given = ("--click", "1:0,5,5", "--finder", name)
    assert track("track", clip, "-o", tmp_path / "out", *given) == 2
    assert "was not found" in capsys.readouterr().err


@pytest.fixture
def loud(monkeypatch):
    """Libraries as they are in a new process: they tell of all that they do."""
    for library in (diffusers_logging, transformers_logging):
        library.enable_progress_bar()
        library.set_verbosity_info()
    yield
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()


def reading(small, place):
    """What reads the parts of a model and what is beside it, each alone."""
    from diffusers.models.controlnets.controlnet import ControlNetModel

    net = write_control_net(place / "net", small.unet, 0.1, (8, 8))
    reader = write_reader(place / "reader")
    write_sam2(place / "sam2")
    unet = place / "unet"
    small.unet.save_pretrained(unet)
    yield lambda: read_weights(type(small.unet), unet, "mine", torch.float32)
    yield lambda: read_weights(ControlNetModel, net, "mine", torch.float32)
    yield lambda: CropReader(str(reader)).check()
    yield lambda: checkpoints.load(checkpoints.find("sam2"), "clicks")


def test_what_libraries_print_is_not_seen(loud, small, tmp_path, own_models, capfd):
    for read in reading(small, tmp_path):
        capfd.readouterr()
        transformers_logging.enable_progress_bar()
        diffusers_logging.enable_progress_bar()
        read()
        assert capfd.readouterr() == ("", "")


def test_doctor_puts_what_it_finds_into_a_column(capsys):
    assert main(["doctor"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert re.match(r".{27} \S", line), line


def test_workers_on_a_cluster_have_the_callers_places(monkeypatch):
    """Those of files and the hub, no choice of a device and no secret."""
    ray = pytest.importorskip("ray")
    passed = {
        "REGRAIN_CACHE": "/a",
        "REGRAIN_KERNELS": "plain",
        "HF_HOME": "/b",
        "HF_HUB_CACHE": "/c",
        "HF_ENDPOINT": "https://mirror",
        "HUGGINGFACE_HUB_CACHE": "/d",
        "XDG_CACHE_HOME": "/e",
        "SSL_CERT_FILE": "/f",
    }
    for name, value in (passed | {"HF_TOKEN": "x", "REGRAIN_DEVICE": "cpu"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init := Mock(side_effect=RuntimeError("inside")))
    said = one_line(list, edit_on_ray({}, "local"))
    assert said.field == "--ray"
    assert "inside" not in said.message
    given = init.call_args.kwargs["runtime_env"]["env_vars"]
    assert given.items() >= passed.items()
    assert not given.keys() & {"HF_TOKEN", "REGRAIN_DEVICE", "HOME", "PATH"}


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_path_is_not_the_current_folder(empty, tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    request = load_project(".")
    for given in (
        lambda: open_clip(empty),
        lambda: load_project(empty),
        lambda: save_project(request, empty),
        lambda: read_labels(empty, 4, (64, 64)),
        lambda: read_regions(empty, 4, (64, 64)),
    ):
        assert one_line(given).message.startswith("The path is empty. ")


@pytest.fixture
def ray_of_mocks(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    for name in ("cluster_resources", "remote", "wait", "get"):
        monkeypatch.setattr(ray, name, Mock())
    ray.cluster_resources.return_value = {}
    return ray


ONE = {Path("a"): Path("b")}
LOST = ["RaySystemError", "NodeDiedError", "LocalRayletDiedError", "RpcError", ""]


@pytest.mark.parametrize("called", ["cluster_resources", "remote", "wait"])
@pytest.mark.parametrize("error", LOST)
def test_a_cluster_that_is_lost_is_a_line(called, error, ray_of_mocks):
    ray = ray_of_mocks
    kind = getattr(ray.exceptions, error) if error else ConnectionError
    getattr(ray, called).side_effect = kind("inside")
    said = one_line(list, edit_on_ray(ONE, "auto"))
    assert said.field == "--ray"
    assert said.message.startswith("The cluster was lost. ")


@pytest.mark.parametrize("called", ["cluster_resources", "remote", "wait"])
@pytest.mark.parametrize("error", [KeyError, TypeError, OSError])
def test_another_fault_than_a_lost_cluster_keeps_its_words(called, error, ray_of_mocks):
    getattr(ray_of_mocks, called).side_effect = error("a fault of ours")
    with pytest.raises(error, match="a fault of ours"):
        list(edit_on_ray(ONE, "auto"))


def test_what_failed_on_a_worker_keeps_its_words(ray_of_mocks):
    ray = ray_of_mocks
    handle = ray.remote.return_value.return_value.remote.return_value
    ray.wait.return_value = [handle], []
    cause = ModuleNotFoundError("No module named 'regrain'")
    ray.get.side_effect = ray.exceptions.RayTaskError("f", "trace", cause)
    ((_, error),) = edit_on_ray(ONE, "auto")
    assert error == "Its worker failed: \"No module named 'regrain'\"."
    ray.get.side_effect = ray.exceptions.WorkerCrashedError()
    ((_, error),) = edit_on_ray(ONE, "auto")
    assert error == "Its worker died 3 times (WorkerCrashedError)."


def of_libraries():
    """Kinds that readers of files raise, as their code has them or lets them pass."""
    yield from (OSError(5, "Input/output error"), ValueError("inside"), KeyError("x"))
    yield from (RuntimeError("inside"), TypeError("inside"), AttributeError("inside"))
    yield from (AssertionError("inside"), ImportError("inside"), MemoryError("inside"))
    yield from (SafetensorError("inside"), torch.OutOfMemoryError("out of memory"))
    yield av.error.InvalidDataError(1, "inside")


# By the function of a library, what calls it.
FUNCTIONS = {
    "safetensors.safe_open": ("model", "lora", "motion", "picture", "finder"),
    "diffusers.ModelMixin.from_pretrained": ("model", "control"),
    "transformers.PreTrainedModel.from_pretrained": ("model", "reader", "finder"),
    "transformers.CLIPImageProcessor.from_pretrained": ("reader",),
    "transformers.Sam2VideoProcessor.from_pretrained": ("finder",),
    "peft.inject_adapter_in_model": ("lora",),
    "peft.set_peft_model_state_dict": ("lora",),
    "av.open": ("clip",),
}


@pytest.fixture(scope="module")
def files(small, small_folder, tmp_path_factory):
    """By its kind, what reads a file from the disk."""
    place = tmp_path_factory.mktemp("files")
    net = write_control_net(place / "net", small.unet, 0.1, (8, 8))
    reader = write_reader(place / "reader")
    sam = write_sam2(place / "sam2")
    write_adapter(place / "mm", small.unet)
    pictures = write_encoder(place / "pictures")
    write_picture_adapter(pictures / "a.safetensors", small.unet, "plain")
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    width = small.unet.get_submodule(layer).in_features
    halves = {"A": torch.ones(2, width), "B": torch.ones(width, 2)}
    named = {f"unet.{layer}.lora_{one}.weight": x for one, x in halves.items()}
    save_file(named, place / "lora.safetensors")
    clip = write_clip(place / "clip.mp4", moving(3))

    def add_lora():
        add_loras([str(place / "lora.safetensors")], {"unet": deepcopy(small.unet)})

    def find():
        checkpoints._loaded.cache_clear()
        checkpoints.load(checkpoints.read(sam), "tracking")

    return {
        "model": lambda: load_now(ModelLocation("folder", str(small_folder)), "mine"),
        "reader": lambda: CropReader(str(reader)).check(),
        "lora": add_lora,
        "motion": lambda: MotionFile(str(place / "mm")),
        "picture": lambda: PictureFile(str(pictures)),
        "control": lambda: load_net(net, "mine", "cpu", torch.float32, object()),
        "finder": find,
        "clip": lambda: open_clip(clip),
    }


@pytest.mark.full(but="peft")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_whatever_a_reader_of_files_raises_is_a_line(function, files, monkeypatch):
    raising = Mock()
    monkeypatch.setattr(function, raising)
    for kind in FUNCTIONS[function]:
        for error in of_libraries():
            raising.side_effect = error
            said = one_line(files[kind])
            assert "inside" not in said.message, (kind, error)
            assert ADVICE.search(said.message), (kind, error)
        assert raising.called
    monkeypatch.undo()
    for kind in FUNCTIONS[function]:
        files[kind]()

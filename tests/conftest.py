"""Tiny random models with the shape of the real ones, written once per session and
loaded as a user's are."""

import os
from hashlib import sha1
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
# Before torch starts. Each worker has one processor.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from browser import (  # noqa: F401
    _chromium,
    _contexts,
    browser,
    chromium_there,
    open_page,
    page,
    real_server,
    server,
    shared_page,
    skip_without_chromium,
)
from json_files import write_json
from made_models import (
    load_double,
    loaded,
    smallest_model,
    write_model,
    write_small_model,
    write_wan,
)
from tiers import (  # noqa: F401
    leave_quick_cases,
    pytest_deselected,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

from regrain.editing.models.weights import folder as weights_folder

# Files of a few tests that take long: ten seconds of the quick tier, or half a minute.
LONG = {"test_walk.py", "test_command_lines.py"}
LONG |= {"test_types.py", "test_page.py", "test_package.py", "test_hostile.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, browsers' next: workers that share out the files end
    at about one time."""
    leave_quick_cases(items)
    files: dict[Path, int] = {}
    for item in items:
        weight = 20 * bool(item.get_closest_marker("full")) + 4 * bool(
            item.get_closest_marker("browser")
        )
        if item.path.name in LONG:
            weight += 100
        files[item.path] = files.get(item.path, 0) + weight
    items.sort(key=lambda item: -files[item.path])
    skip_without_chromium(items)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """What tests compute, and projects they make, are kept for them alone, never in the
    user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("REGRAIN_PROJECTS", str(tmp_path_factory.mktemp("projects")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _tokenizers():
    """Tokenizers are read once of equal files, which takes half the time of loading a
    small model."""
    read = weights_folder.read_tokenizer
    known = {}

    def read_once(place, id, *kind):
        files = sorted(file for file in place.glob("*") if file.is_file())
        held = tuple((file.name, sha1(file.read_bytes()).digest()) for file in files)
        if (held, kind) not in known:
            known[held, kind] = read(place, id, *kind)
        return known[held, kind]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights_folder, "read_tokenizer", read_once)
        yield


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache that begins empty."""
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    """Models are looked for in the test's own folder."""
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))


@pytest.fixture
def no_grad():
    """As recipes run by themselves; the types checked around them hide that they are
    generators."""
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A diffusers folder with the topology of Stable Diffusion 1.5."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny", vae="AutoencoderKL")


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    """That folder, loaded."""
    return loaded(tiny_folder)


@pytest.fixture(scope="session")
def tiny_dc_folder(tmp_path_factory) -> Path:
    """The same with the built-in model's kind of autoencoder, its list of words and its
    recommendations."""
    folder = write_model(
        tmp_path_factory.mktemp("models") / "tiny-dc", vae="AutoencoderDC", seed=1
    )
    words = ["a", "and", "cat", "fox", "on", "red", "tiger", "the", "left"]
    write_json(folder / "words.json", words)
    write_json(folder / "defaults.json", {"videograin": {"steps": 20}})
    return folder


@pytest.fixture(scope="session")
def tiny_dc(tiny_dc_folder):
    """That folder, loaded."""
    return loaded(tiny_dc_folder)


@pytest.fixture(scope="session")
def tiny_double(tiny_folder):
    """That folder in double precision."""
    return load_double(tiny_folder)


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory) -> Path:
    """The smallest model that the recipes run on."""
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def small(small_folder):
    """That folder, loaded."""
    return loaded(small_folder)


@pytest.fixture(scope="session")
def seeing(tmp_path_factory):
    """One of that size that sees the source."""
    place = tmp_path_factory.mktemp("models") / "seeing"
    return loaded(write_small_model(place, beside="source"))


@pytest.fixture(scope="session")
def wan_folder(tmp_path_factory) -> Path:
    """A narrow Wan 2.1."""
    return write_wan(tmp_path_factory.mktemp("models") / "wan")


@pytest.fixture(scope="session")
def wan(wan_folder):
    """That folder, loaded."""
    return loaded(wan_folder)


@pytest.fixture(scope="session")
def pair_folder(tmp_path_factory) -> Path:
    """A narrow Wan 2.2 with two experts."""
    return write_wan(tmp_path_factory.mktemp("models") / "pair", experts=True)


@pytest.fixture(scope="session")
def coarse_folder(tmp_path_factory) -> Path:
    """A narrow Wan 2.2 of 5 billion weights."""
    return write_wan(tmp_path_factory.mktemp("models") / "coarse", coarse=True)


@pytest.fixture(scope="session")
def vace_folder(tmp_path_factory) -> Path:
    """A narrow VACE."""
    return write_wan(tmp_path_factory.mktemp("models") / "vace", vace=True)


@pytest.fixture(scope="session")
def vace(vace_folder):
    """That folder, loaded."""
    return loaded(vace_folder)


@pytest.fixture(scope="session")
def vace_double(vace_folder):
    """That folder in double precision."""
    return load_double(vace_folder)


@pytest.fixture
def watched(monkeypatch):
    """Notes from now on what a function is called with: by position, and by name."""

    def watch(owner, name):
        seen, inner = [], getattr(owner, name)
        noted = lambda *given, **how: seen.append((given, how)) or inner(*given, **how)  # noqa: E731
        monkeypatch.setattr(owner, name, noted)
        return seen

    return watch


@pytest.fixture
def fitting(method, request):
    """The smallest model that a method, by which a test is parametrized, edits with."""
    return request.getfixturevalue(smallest_model(method))


@pytest.fixture(scope="session")
def small_double(small_folder):
    """The same in double precision."""
    return load_double(small_folder)

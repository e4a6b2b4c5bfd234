"""What befalls a run: it is killed, the disk is full, another process is at the same
place."""

import shutil
from pathlib import Path

import pytest
from faults import Started, dies_while, small_files, small_results

from regrain.editing.models.loading.load import load_backbone
from tests.hostile import base

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    load_backbone("storybook")  # children have it without loading
    folder = tmp_path_factory.mktemp("faults") / "project"
    content = base.content()
    return base.write_project(folder, content | {"params": {"steps": 3}})


@pytest.fixture(scope="module")
def expected(project) -> dict[str, bytes]:
    """The videos of a run that nothing befell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAIN_CACHE", str(project.parent / "cache of the whole run"))
        complete(run(project, project.parent / "whole"))
    return videos(project.parent / "whole")


def run(project: Path, out: Path, *faults) -> Started:
    return Started(["run", str(project), "-o", str(out)], project.parent, *faults)


def contents(out: Path, pattern: str = "*") -> dict[str, bytes]:
    """The bytes of each file below a folder."""
    files = (file for file in out.rglob(pattern) if file.is_file())
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def videos(out: Path) -> dict[str, bytes]:
    return contents(out, "*.mp4")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def complete(started: Started) -> str:
    """What a command says that succeeds."""
    ended = started.end()
    assert ended.code == 0, ended.said
    assert "Traceback" not in ended.said
    return ended.said


@pytest.mark.parametrize(
    "stage", ["reading", "inverting", "editing", "decoding", "writing"]
)
def test_a_killed_run_ends_in_the_same_bytes(
    project, expected, tmp_path, own_cache, stage
):
    out = tmp_path / "out"
    assert run(project, out, dies_while(stage)).end().code == -9
    assert not out.exists()
    kept = {
        file: file.stat().st_ino for file in (tmp_path / "cache").glob("*.safetensors")
    }
    assert bool(kept) == (stage in ("editing", "decoding", "writing"))
    complete(run(project, out))
    assert videos(out) == expected
    # What was done was taken from the cache, not made and stored again.
    assert {file: file.stat().st_ino for file in kept} == kept
    assert names(tmp_path) == ["cache", "out"]
    assert list((tmp_path / "cache").glob(".*")) == []


def one_line(ended) -> str:
    assert ended.code == 2, ended.said
    (line,) = [line for line in ended.said.splitlines() if line.startswith("error:")]
    assert len(line) <= 300
    assert "Traceback" not in ended.said
    return line


def test_a_full_disk_keeps_the_old_results(project, expected, tmp_path, own_cache):
    out = tmp_path / "out"
    shutil.copytree(project.parent / "whole", out)
    before = contents(out)
    assert "cannot be written" in one_line(run(project, out, small_results(3000)).end())
    assert contents(out) == before
    assert names(tmp_path) in (["cache", "out"], ["out"])


def test_a_full_disk_for_the_cache_is_a_warning(project, expected, tmp_path, own_cache):
    """No entry is stored, and nothing of it stays; the results are all there."""
    entries = contents(project.parent / "cache of the whole run").values()
    assert max(map(len, expected.values())) < 60_000 < max(map(len, entries))
    assert "was not cached" in complete(
        run(project, tmp_path / "out", small_files(60_000))
    )
    assert videos(tmp_path / "out") == expected
    assert all(len(entry) < 60_000 for entry in contents(tmp_path / "cache").values())
    assert list((tmp_path / "cache").glob(".*")) == []


def test_a_full_disk_keeps_the_old_masks(project, tmp_path):
    from regrain.masks.__main__ import main

    out = tmp_path / "found"
    base.write_masks(out)
    before = contents(out)
    command = ["convert", str(project / "masks"), "-o", str(out)]
    ended = Started(lambda: main(command) != 2, tmp_path, small_files(200)).end()
    assert "cannot be written" in one_line(ended._replace(code=2 - 2 * ended.code))
    assert contents(out) == before


def test_two_processes_share_a_cache_and_a_folder(
    project, expected, tmp_path, own_cache
):
    started = [run(project, tmp_path / name) for name in ("out", "out", "other")]
    for process in started:
        complete(process)
    assert videos(tmp_path / "out") == videos(tmp_path / "other") == expected
    assert names(tmp_path) == ["cache", "other", "out"]

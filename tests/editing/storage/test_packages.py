"""What is installed against what is needed."""

import pytest

from regrain.editing.cli.commands import call
from regrain.editing.cli.doctor import examine
from regrain.editing.errors import ModelError
from regrain.editing.models.loading import load
from regrain.editing.storage import packages


@pytest.fixture
def old_diffusers(monkeypatch):
    """An installation whose diffusers is too old."""
    version = packages.version
    monkeypatch.setattr(
        packages,
        "version",
        lambda name: "0.31.0" if name == "diffusers" else version(name),
    )


OLD = "diffusers 0.31.0 is installed, >=0.41 is needed."


def test_the_tested_versions_are_within_the_ranges():
    assert list(packages.problems()) == []
    assert {need.name for need in packages.needed()} > {
        "torch",
        "numpy",
        "opencv-python-headless",
    }


def test_one_that_is_too_old_or_missing_is_named(old_diffusers, monkeypatch):
    assert list(packages.problems()) == [OLD]
    assert dict(examine())["diffusers"] == "0.31.0; >=0.41 is needed"
    monkeypatch.setattr(packages, "_OPENCV", ("opencv-nowhere",))
    need = next(need for need in packages.needed() if need.name.startswith("opencv"))
    monkeypatch.setattr(packages, "_OPENCV", (need.name, "numpy"))
    assert packages.installed(need.name) is not None  # any build of it counts


def test_a_library_that_cannot_be_imported_is_no_lack_of_memory(capsys, old_diffusers):
    import typer

    app = typer.Typer()

    @app.command()
    def broken() -> None:
        raise ImportError("cannot import name 'x' from 'diffusers'", name="diffusers")

    assert call(app, "regrain", []) == 2
    line = f"error: installation: {OLD} Run `pip install --upgrade regrain`.\n"
    assert capsys.readouterr().err == line


def test_a_model_that_cannot_be_loaded_may_be_the_librarys_fault(
    tmp_path, old_diffusers
):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=f"broken.safetensors.* {OLD}"):
        load.load_backbone(str(tmp_path / "broken.safetensors"))

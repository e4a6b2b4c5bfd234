"""Commands that cannot print: the disk of what they print to is full, or nobody reads
it any more. What they make is made."""

import os
import sys
import warnings

import pytest
import typer
from faults import Started
from made_projects import write_project

from regrain.editing.cli.commands import call
from regrain.editing.errors import DoubtWarning
from regrain.editing.models.loading.load import load_backbone
from regrain.masks.__main__ import main as masks


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    load_backbone("storybook")  # children have it without loading
    return write_project(tmp_path_factory.mktemp("full") / "project", shots=2)


def broken_pipe() -> int:
    """The end of a pipe into which nothing can be written."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


KINDS = {
    "full": lambda: os.open("/dev/full", os.O_WRONLY),
    "broken": broken_pipe,
}


def ran(command, folder, *streams, kind="full"):
    """The code of a command, and what it says on streams other than these, of which
    each is as an interpreter has it."""

    def fault():
        for name in streams:
            stream = os.fdopen(KINDS[kind](), "w", buffering=1)
            setattr(sys, name, stream)

    given = [str(one) for one in command] if isinstance(command, tuple) else command
    return Started(given, folder, fault).end()


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_is_written_though_no_progress_can_be_printed(kind, project, tmp_path):
    run = ("run", project, "-o", tmp_path / "out")
    code, said = ran(run, tmp_path, "stderr", kind=kind)
    assert (code, "report.json" in said) == (0, True), said
    assert (tmp_path / "out" / "edited.mp4").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_is_written_though_its_place_cannot_be_printed(kind, project, tmp_path):
    run = ("run", project, "-o", tmp_path / "out")
    code, said = ran(run, tmp_path, "stdout", kind=kind)
    assert (tmp_path / "out" / "edited.mp4").exists()
    assert code == 1 + (kind == "full")  # 1 where nobody reads, as others end
    said = said.partition("Traceback")[0]  # of the end itself, in a fork
    assert ("error: disk: It cannot be written (No" in said) == (kind == "full")


@pytest.mark.parametrize(
    "streams", [("stdout",), ("stderr",), ("stdout", "stderr")], ids="+".join
)
def test_masks_are_written_though_nothing_can_be_printed(streams, project, tmp_path):
    given = ["track", str(project / "clip.mkv"), "-o", str(tmp_path / "out")]
    given += ["--click", "1:0,9,9"]
    # a code above 1 is told from one
    ended = ran(lambda: masks(given) == 2, tmp_path, *streams)
    assert len([*(tmp_path / "out").glob("*.png")]) == 10
    assert ended.code == ("stdout" in streams), ended.said
    assert "Traceback" not in ended.said


def test_what_is_all_that_is_asked_for_is_not_said_to_be_there(tmp_path):
    """A schema that was cut is an error, and an error that nobody hears of is one."""
    code, said = ran(("schema",), tmp_path, "stdout")
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("error: disk: It cannot be written (No space left")
    assert ran(("run", "nowhere", "-o", "x"), tmp_path, "stderr").code == 2


def test_of_warnings_ours_are_lines_and_those_of_libraries_are_not_shown(capsys):
    app = typer.Typer()

    @app.command()
    def work():
        for kind in (FutureWarning, UserWarning, RuntimeWarning):
            warnings.warn("inside a library", kind, stacklevel=1)
        warnings.warn("The doubt is said.", DoubtWarning, stacklevel=1)

    shown = warnings.showwarning
    assert call(app, "work", []) == 0
    assert capsys.readouterr().err == "warning: The doubt is said.\n"
    assert warnings.showwarning is shown

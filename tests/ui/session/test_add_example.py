"""An edit of a real clip becomes an example of the page, with its credit."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from regrain.editing.storage.local_models import ASSETS
from regrain.ui.add_example import VARIABLE, app, call
from regrain.ui.session.examples import load_examples
from regrain.ui.views.result_views import made_player
from regrain.ui.views.session_views import gallery

CREDIT = {"credit": "Clip by A. Maker", "licence": "CC BY 4.0"}


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """A project with the result of a run, as the command line leaves it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "examples"))
    folder = tmp_path / "my_skater"
    shutil.copytree(ASSETS / "examples" / "05_colour", folder)
    write(folder / "credit.json", CREDIT)
    report = json.loads((folder / "result" / "report.json").read_text())
    write(folder / "result" / "report.json", report | {"project": "", "more": 1})
    (tmp_path / "examples").mkdir()
    return folder


def write(path, content):
    path.write_text(json.dumps(content))


def run(folder, capsys):
    code = call(app, "add_example", [str(folder)])
    return code, capsys.readouterr()


def test_what_was_run_is_shown_with_its_credit(ran, capsys, tmp_path):
    assert run(ran, capsys)[0] == 0
    found = load_examples(tmp_path / "examples", tmp_path / "media")
    (item,) = gallery(found, None).items
    assert (item.title, item.credit) == ("My skater", "Clip by A. Maker, CC BY 4.0")
    assert item.after
    opened = found["my_skater"].opened
    note = made_player(opened).note
    assert note.startswith("Clip by A. Maker, CC BY 4.0. This result was made")
    assert "more" not in opened.made.report
    real = SimpleNamespace(clip=SimpleNamespace(comment=""))
    assert not replace(opened, request=real).drawn
    assert replace(opened, request=real, credit="").drawn  # one that ships


def cut(folder):
    shutil.copy(folder / "result" / "edited.mp4", folder / "result" / "edited_2.mp4")
    project = json.loads((folder / "project.json").read_text())
    project["clip"]["frames"] = 5
    write(folder / "project.json", project)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "credit.json").unlink(), "credit.json: It is missing. Write"),
        (
            lambda f: write(f / "credit.json", CREDIT | {"licence": " "}),
            "credit.json licence: ",
        ),
        (
            lambda f: write(f / "credit.json", {"licence": "MIT"}),
            "credit.json credit: ",
        ),
        (
            lambda f: write(f / "credit.json", CREDIT | {"by": "me"}),
            "credit.json by: ",
        ),
        (lambda f: (f / "credit.json").write_text("{"), "credit.json"),
        (lambda f: (f / "project.json").unlink(), "project: "),
        (lambda f: shutil.rmtree(f / "result"), "result/edited.mp4: It has 0"),
        (lambda f: (f / "result" / "report.json").unlink(), "result/report.json: "),
        (cut, "result/edited.mp4: It has 8 of 5 frames. Run the project again."),
        (
            lambda f: (f.parent / "examples" / f.name).mkdir(),
            "folder: 'my_skater' is an example already. Rename the folder.",
        ),
    ],
)
def test_what_is_missing_is_said_in_a_line_and_nothing_is_added(
    ran, spoil, said, capsys, tmp_path
):
    spoil(ran)
    code, output = run(ran, capsys)
    assert code == 2
    assert output.err.startswith(f"error: {said}")
    assert output.err.count("\n") == 1
    assert not list((tmp_path / "examples").rglob("*.mp4"))

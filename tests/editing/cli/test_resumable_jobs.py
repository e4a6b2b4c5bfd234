"""Batches: which jobs there are, that each is done once, that a batch goes on, and
shots of one clip."""

import filecmp
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from json_files import read_json
from made_projects import PARAMS, write_project
from tables import rows

from regrain.editing import RequestError, load_project, save_project
from regrain.editing.__main__ import main
from regrain.editing.cli.jobs import (
    EditJob,
    Task,
    is_done,
    read_jobs,
    split,
    work,
)
from regrain.editing.storage import cache


@pytest.fixture
def projects(tmp_path, own_cache):
    """Three projects."""
    return [
        write_project(tmp_path / "in" / name, seed=seed)
        for seed, name in enumerate("abc")
    ]


def status(out: Path) -> dict:
    return {
        name: job["state"]
        for name, job in read_json(out / "batch.json")["jobs"].items()
    }


def test_jobs_come_from_folders_patterns_and_lines(projects, tmp_path):
    lines = tmp_path / "jobs.jsonl"
    lines.write_text(
        '{"project": "in/a", "name": "second a", "seed": 7, "params": {"steps": 2}}\n\n'
        '{"project": "in/b", "method": "fresco", "prompts": ["a fox"]}\n'
    )
    jobs = read_jobs([str(projects[0]), str(tmp_path / "in" / "[bc]"), str(lines)])
    assert [job.name for job in jobs] == ["a", "b", "c", "second a", "b_2"]
    request, _ = jobs[3].request()
    assert (request.seed, request.params) == (7, {**PARAMS, "steps": 2})
    request, notes = jobs[4].request()
    assert (request.method, request.prompt, request.params) == ("fresco", "a fox", {})
    assert "dropped" in notes[0]


WRONG = {
    "line 1": ["not JSON", "[]", "[" * 90_000, '{"project": "nowhere"}'],
    "seed": ['{"project": "in/a", "seed": "x"}'],
    "color": ['{"project": "in/a", "color": 1}'],
}


@pytest.mark.parametrize(("field", "line"), rows(WRONG))
def test_a_line_that_is_wrong_is_named(projects, tmp_path, line, field):
    (tmp_path / "jobs.jsonl").write_text(line)
    with pytest.raises(RequestError) as caught:
        read_jobs([str(tmp_path / "jobs.jsonl")])
    assert field in caught.value.field
    assert len(str(caught.value)) < 300


def test_a_wrong_line_is_called_by_its_number_in_the_file(tmp_path):
    (tmp_path / "jobs.jsonl").write_text("\n\n[]\n")
    with pytest.raises(RequestError, match="jobs.jsonl, line 3"):
        read_jobs([str(tmp_path / "jobs.jsonl")])


@pytest.mark.parametrize(
    ("lines", "says"), [(100_000, "No jobs"), (100_001, "more than 100000 lines")]
)
def test_a_file_of_jobs_has_at_most_100000_lines(tmp_path, lines, says):
    (tmp_path / "jobs.jsonl").write_text("\n" * lines)
    with pytest.raises(RequestError, match=says):
        read_jobs([str(tmp_path / "jobs.jsonl")])


def test_every_job_is_done_once_and_a_batch_goes_on(projects, tmp_path, monkeypatch):
    out = tmp_path / "out"
    ran = []
    from regrain.editing.pipeline import runner

    edit = runner.edit

    def noted(request, backbone=None):
        ran.append(request.seed)
        if len(ran) == 2:
            raise KeyboardInterrupt
        yield from edit(request, backbone)

    monkeypatch.setattr(runner, "edit", noted)
    command = ["batch", *map(str, projects), "-o", str(out)]
    assert main(command) == 130
    assert ran == [0, 1]
    assert status(out) == {"a": "done", "b": "waiting", "c": "waiting"}
    assert main(command) == 0
    assert ran == [0, 1, 1, 2]
    assert status(out) == dict.fromkeys("abc", "done")
    assert sorted(entry.name for entry in out.iterdir()) == [
        "a",
        "b",
        "batch.json",
        "c",
    ]
    assert main(command) == 0
    assert ran == [0, 1, 1, 2]
    # Another seed is another result.
    save_project(replace(load_project(projects[1]), seed=9), projects[1])
    assert main(command) == 0
    assert ran[4:] == [9]
    assert read_json(out / "b" / "report.json")["request"]["seed"] == 9


def test_one_that_fails_does_not_stop_the_others(projects, tmp_path, capsys):
    save_project(
        replace(load_project(projects[0]), prompt="an unheardof thing"), projects[0]
    )
    assert main(["batch", *map(str, projects), "-o", str(tmp_path / "out")]) == 1
    assert status(tmp_path / "out") == {"a": "failed", "b": "done", "c": "done"}
    said = capsys.readouterr()
    assert "unheardof" in said.err
    assert "2 of 3 jobs done" in said.out


def test_a_folder_with_other_files_is_refused_and_so_are_no_projects(
    projects, tmp_path, capsys
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for source, out, field in (
        (projects[0], "out", "--out"),
        (tmp_path / "*", "new", "JOBS"),
    ):
        assert main(["batch", str(source), "-o", str(tmp_path / out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {field}: ")


def test_shots_edited_apart_end_in_the_same_bytes(tmp_path, own_cache, monkeypatch):
    project = write_project(tmp_path / "in", shots=3, params={**PARAMS, "window": 8})
    job = EditJob("clip", project)
    assert main(["batch", str(project), "-o", str(tmp_path / "whole")]) == 0
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path / "cache of shots"))
    tasks = split([job])
    assert [task.shot for task in tasks] == [0, 1, 2, None]
    assert tasks[-1].after == (0, 1, 2)
    for task in reversed(tasks[:-1]):  # in any order
        assert work(task, tmp_path / "parts").error == ""
    stored = []
    monkeypatch.setattr(cache, "store", lambda key, *_: stored.append(key["kind"]))
    (tmp_path / "parts" / ".work").mkdir(parents=True)
    assert work(tasks[-1], tmp_path / "parts").error == ""
    assert "draft" not in stored  # every window came from the cache
    assert is_done(job, tmp_path / "parts")
    edited = [
        (tmp_path / part / name / "edited.mp4")
        for part, name in (("whole", "in"), ("parts", "clip"))
    ]
    assert filecmp.cmp(*edited, shallow=False)


def test_what_all_windows_need_is_done_by_the_first_shot(tmp_path):
    project = write_project(
        tmp_path / "in",
        shots=2,
        method="tune_a_video",
        source_prompt="a pig",
        params={},
    )
    tasks = split([EditJob("clip", project)])
    assert [task.after for task in tasks] == [(), (0,), (0, 1)]


def test_shots_are_those_of_the_request(tmp_path):
    project = write_project(tmp_path / "in", shots=2)
    for given, shots in (({}, 2), ({"cuts": "none"}, 0), ({"cuts": "2, 4, 7"}, 4)):
        *parts, whole = split([EditJob("a", project, {"params": given})])
        assert whole.shot is None
        assert [part.shot for part in parts] == [*range(shots)]


def test_a_failure_inside_is_named(projects, tmp_path, monkeypatch):
    monkeypatch.setattr("regrain.editing.cli.jobs._edit", lambda *_: 1 / 0)
    assert "ZeroDivisionError" in work(Task(EditJob("a", projects[0])), tmp_path).error


def begin_batch(project: Path, out: Path) -> int:
    """Another process that has begun a batch, with a result half written."""
    ready, tell = os.pipe()
    child = os.fork()
    if not child:

        def hang(task, out):
            (out / ".work" / "half").mkdir()
            os.write(tell, b".")
            signal.pause()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("regrain.editing.cli.jobs.work", hang)
            main(["batch", str(project), "-o", str(out)])
        os._exit(0)
    os.close(tell)
    os.read(ready, 1)
    os.close(ready)
    return child


def test_a_second_batch_into_the_same_folder_is_refused_while_the_first_lives(
    projects, tmp_path, capsys
):
    out = tmp_path / "out"
    child = begin_batch(projects[0], out)
    try:
        before = (out / "batch.json").read_bytes()
        assert main(["batch", str(projects[1]), "-o", str(out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: --out: 'out' is in use by another run. Wait")
        assert (out / ".work" / "half").is_dir()
        assert (out / "batch.json").read_bytes() == before
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert main(["batch", str(projects[0]), "-o", str(out)]) == 0
    assert sorted(entry.name for entry in out.iterdir()) == ["a", "batch.json"]

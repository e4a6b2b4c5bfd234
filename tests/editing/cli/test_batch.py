"""Batches: each project is done once, a batch goes on, and on a cluster of two nodes it
outlives one that is killed."""

import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import last_error
from json_files import read_json
from made_projects import write_project
from running import hanging, kill

from regrain.editing import load_project, save_project
from regrain.editing.__main__ import main
from regrain.editing.cli.batch import edit_on_ray, find_projects
from regrain.editing.errors import RequestError
from regrain.editing.pipeline import runner


@pytest.fixture
def projects(tmp_path, own_cache):
    """Three projects."""
    folders = [tmp_path / "in" / name for name in "abc"]
    return [write_project(at, seed=seed) for seed, at in enumerate(folders)]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def seed_of(results: Path) -> int:
    return read_json(results / "report.json")["request"]["seed"]


def test_every_project_is_done_once_and_a_batch_goes_on(
    projects, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    ran = []
    edit = runner.edit

    def noted(request, backbone=None):
        ran.append(request.seed)
        if len(ran) == 2:
            raise KeyboardInterrupt
        yield from edit(request, backbone)

    monkeypatch.setattr(runner, "edit", noted)

    def batch():
        """The code, the seeds of what was done, and the results that are there."""
        ran.clear()
        code = main(["batch", *map(str, projects), "-o", str(out)])
        return code, ran, names(out)

    assert batch() == (130, [0, 1], ["a"])
    assert last_error(capsys) == "stopped"
    monkeypatch.setattr(
        runner, "edit", lambda *given: ran.append(given[0].seed) or edit(*given)
    )
    assert batch() == (0, [1, 2], ["a", "b", "c"])
    assert batch() == (0, [], ["a", "b", "c"])
    # Another seed is another result.
    save_project(replace(load_project(projects[1]), seed=9), projects[1])
    assert batch() == (0, [9], ["a", "b", "c"])
    assert seed_of(out / "b") == 9


def test_a_failure_inside_is_named_and_examples_by_their_names(
    tmp_path, monkeypatch, capsys, own_cache
):
    monkeypatch.setattr("regrain.editing.cli.batch._edit", lambda *_: 1 / 0)
    assert main(["batch", "01_two_animals", "-o", str(tmp_path / "out")]) == 1
    assert re.search(
        "failed: 01_two_animals: .*ZeroDivisionError", capsys.readouterr().err
    )


def begin_batch(project: Path, out: Path) -> int:
    """Another process that has begun a batch."""

    def begin(hang):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("regrain.editing.cli.batch.edit_project", lambda *_: hang())
            main(["batch", str(project), "-o", str(out)])

    return hanging(begin)


def test_a_second_batch_into_the_same_folder_is_refused_while_the_first_lives(
    projects, tmp_path, capsys
):
    out = tmp_path / "out"
    child = begin_batch(projects[0], out)
    try:
        assert main(["batch", str(projects[1]), "-o", str(out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: --out: 'out' is in use by another run. Wait")
    finally:
        kill(child)
    assert main(["batch", str(projects[0]), "-o", str(out)]) == 0
    assert names(out) == ["a"]


# --- On a cluster


@pytest.fixture(scope="module")
def nodes():
    """The nodes of a cluster on this machine, each a process, with room for one worker
    each."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
    # at 15 a worker starves beside other tests
    os.environ.update(RAY_worker_niceness="0")
    cluster = Nodes(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    other = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster, other
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.parametrize(("there", "asked"), [({}, 0), ({"GPU": 2.0}, 1)])
def test_a_worker_has_one_gpu_where_there_are_any(there, asked, monkeypatch):
    given = {}

    def remote(**options):
        given.update(options)
        return lambda work: work

    ray = SimpleNamespace(cluster_resources=lambda: there, remote=remote)
    monkeypatch.setattr("regrain.editing.cli.batch._connected", lambda _: ray)
    assert [*edit_on_ray({}, "auto")] == []
    assert given["num_gpus"] == asked


@pytest.mark.full
def test_a_batch_outlives_a_node(nodes, projects, tmp_path):
    cluster, other = nodes
    out = tmp_path / "out"
    work = {project: out / project.name for project in projects}
    ended = []
    for project, error in edit_on_ray(work, cluster.address):
        assert error == ""
        ended.append(project)
        if len(ended) == 1:
            cluster.remove_node(other, allow_graceful=False)
    assert sorted(ended) == projects
    assert names(out) == ["a", "b", "c"]
    assert [seed_of(results) for results in work.values()] == [0, 1, 2]


@pytest.mark.full
def test_a_cluster_that_is_not_there_is_one_line(projects, tmp_path, capsys):
    ray = pytest.importorskip("ray")
    ray.shutdown()
    command = ["batch", str(projects[0]), "-o", str(tmp_path / "out")]
    assert main([*command, "--ray", "127.0.0.1:1"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_a_folder_that_is_given_twice_is_told_from_two_of_one_name(tmp_path):
    one = write_project(tmp_path / "one")
    (tmp_path / "link").symlink_to(one)
    for again in (f"{one}/", f"{one.parent}/./one", tmp_path / "link", one):
        with pytest.raises(RequestError, match="'one' is given twice. Give it once."):
            find_projects([str(one), str(again)])
    assert [*find_projects([str(one)])] == ["one"]
    other = write_project(tmp_path / "other" / "ONE")
    with pytest.raises(RequestError, match="Two are called 'ONE'. Rename one."):
        find_projects([str(one), str(other)])
    other.rename(other.with_name("two"))
    assert [*find_projects([str(one), str(other.with_name("two"))])] == ["one", "two"]

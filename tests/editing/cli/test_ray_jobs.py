"""A batch on a cluster of two nodes, one of which is killed while it works."""

import filecmp
import os
from collections import Counter

import pytest
from json_files import read_json
from made_projects import write_project

from regrain.editing.__main__ import main
from regrain.editing.cli.jobs import EditJob, Status, Task, split
from regrain.editing.cli.ray_jobs import Cluster

pytestmark = pytest.mark.full


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


def test_a_clip_split_over_workers_ends_in_the_same_bytes(nodes, tmp_path, own_cache):
    cluster, _ = nodes
    params = {"steps": 1, "strength": 0.5, "preview_every": 0, "window": 8}
    job = EditJob("clip", write_project(tmp_path / "in", shots=2, params=params))
    assert main(["run", str(job.project), "-o", str(tmp_path / "whole")]) == 0
    Status([job], tmp_path / "out")
    outcomes = [*Cluster(cluster.address, tmp_path / "out").run(split([job]))]
    assert [outcome.error for outcome in outcomes] == ["", "", ""]
    parts, whole = (
        tmp_path / folder / "edited.mp4" for folder in ("out/clip", "whole")
    )
    assert filecmp.cmp(parts, whole, shallow=False)


def test_a_batch_outlives_a_node(nodes, tmp_path, own_cache):
    cluster, other = nodes
    jobs = [
        EditJob(f"job{i}", write_project(tmp_path / "in" / f"job{i}", seed=i))
        for i in range(3)
    ]
    out = tmp_path / "out"
    status = Status(jobs, out)
    ended = Counter()
    for outcome in Cluster(cluster.address, out).run([Task(job) for job in jobs]):
        status.take(outcome)
        assert outcome.error == ""
        ended[outcome.task.job.name] += 1
        if ended.total() == 1:
            cluster.remove_node(other, allow_graceful=False)
    status.close()
    assert ended == Counter(job.name for job in jobs)
    assert sorted(entry.name for entry in out.iterdir()) == [
        "batch.json",
        *(job.name for job in jobs),
    ]
    seeds = [
        read_json(out / job.name / "report.json")["request"]["seed"] for job in jobs
    ]
    assert seeds == [0, 1, 2]


def test_a_cluster_that_is_not_there_is_one_line(tmp_path, capsys, own_cache):
    project = write_project(tmp_path / "in")
    ray = pytest.importorskip("ray")
    ray.shutdown()
    assert (
        main(
            ["batch", str(project), "-o", str(tmp_path / "out"), "--ray", "127.0.0.1:1"]
        )
        == 2
    )
    assert "cannot be reached" in capsys.readouterr().err

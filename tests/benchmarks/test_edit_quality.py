"""The edit benchmark's workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
PARENT = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from benchmarks.edit_quality import begin_worker
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=begin_worker)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def alive(process: int) -> bool:
    """Whether it runs; one that has ended and waits to be noticed does not."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks Linux which processes run")
def test_workers_end_when_the_benchmark_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=env
    ) as parent:
        assert parent.stdout
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 600
    while alive(worker) and time.monotonic() < end:
        time.sleep(0.2)
    assert not alive(worker)

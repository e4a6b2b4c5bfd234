"""Processes over one folder of projects, for tests without a browser."""

from dataclasses import replace

import pytest
from kept_work import HEIGHT, WIDTH, kill, store_over, work, written_noise

from regrain.ui.server.media import Media


@pytest.fixture
def clip(tmp_path):
    return written_noise(tmp_path / "my walk.mp4", HEIGHT, WIDTH)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "Regrain"


@pytest.fixture
def server(tmp_path, root, open_clip):
    """Begins a process beside those that are there: its store of sessions."""
    first = replace(open_clip(), name="00_first")
    count = iter(range(1000))
    return lambda: store_over(root, Media(tmp_path / f"media{next(count)}"), first)


@pytest.fixture
def process(server):
    """Begins a process in place of those before, which are killed."""
    before = []

    def begin():
        for store in before:
            kill(store)
        before.append(server())
        return before[-1]

    return begin


@pytest.fixture
def visits(process):
    return process()


@pytest.fixture
def session(visits, clip):
    return work(visits, clip)

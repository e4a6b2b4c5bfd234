"""Work of a page on a small clip, kept in a folder of projects."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from regrain.editing.media.writing import write_video
from regrain.editing.request.edit import Edit
from regrain.masks.draw import pack
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.session.projects import Projects
from regrain.ui.session.session_store import SessionStore
from regrain.ui.values.fields import Fields
from regrain.ui.values.history import Choices, PastRun
from regrain.ui.values.layers import MaskLayer

FIELDS = Fields(
    "storybook", ["storybook/motion"], 5, given={"videograin": {"steps": 12}}
)
FRAMES, HEIGHT, WIDTH = 3, 48, 64


def written_noise(file, height, width):
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, height, width, 3))
    write_video(file, iter(frames.astype(np.uint8)), Fraction(8))
    return file


def store_over(root, media, first):
    """A store of sessions over a folder of projects, without its thread."""
    projects = Projects(root)
    projects.wake = lambda: None
    projects.ask = lambda session, fields: Edit(
        seed=fields.seed, params=fields.given["videograin"]
    )
    return SessionStore(first, media, projects=projects)


def kill(store):
    """End the process of a store: what it held is free."""
    for _, session in store.sessions():
        session.let_go()


def opened(visits, path, page="page"):
    return ClipFiles(visits, visits.media).open_path(page, str(path))[0]


def box(top, left):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + 20, left : left + 20] = True
    return mask


def work(visits, clip):
    """Open a clip with two regions, one over the other, and say what they become."""
    session = opened(visits, clip)
    with session.lock:
        first, second = session.add_region(), session.add_region()
        track = {0: pack(box(5, 5)), 1: pack(box(7, 7)), 2: b""}
        under = MaskLayer({}, track, {0: 1.0, 1: 0.25})
        over = MaskLayer({}, {0: pack(box(10, 10))}, {0: 1.0})
        state = session.state.with_layer(first, under).with_layer(second, over)
        session.commit(state)
        words = {"label": first, "source": "a cat", "prompt": "a fox"}
        session.describe({"source_prompt": "a cat and a dog", "regions": [words]})
        session.fields = FIELDS
    return session


def ran(session, folder):
    """Add a run of a session, whose files are in a new folder of its name."""
    folder.mkdir()
    choices = Choices.of(session.opened.request, session.id, "")
    picture = f"a picture of {folder.name}"
    run = PastRun(folder.name, folder, *["x"] * 5, picture, choices)
    run.write({})
    session.history.add(run)


def put(session, **changes):
    """Change the layer of the first region."""
    with session.lock:
        label, layer = next(iter(session.state.layers.items()))
        session.commit(session.state.with_layer(label, replace(layer, **changes)))

"""The canvas of the page in browser tests: what it shows, and what a visitor does on
it."""

from fractions import Fraction

import numpy as np
from browser import (
    drag,
    open_card,
    pixel_of,
    wait,
    write,
)

from regrain.editing.media.writing import write_video

SIDE = 256  # pixels of the made-up example
# Middles of its discs on frame 1; they walk 4 pixels a frame.
LEFT = (70, 120)
RIGHT = (180, 150)


def state(page):
    """What the canvas knows, and what it still waits for."""
    return page.evaluate(
        """(() => { const e = document.querySelector('.rg-editor').editor; const area = (entry) =>
        entry.runs.split(' ').reduce((sum, n, i) => sum + (i % 2 ? Number(n) : 0), 0);
        return { rev: e.rev, frame: e.frame + 1, tool: e.tool, waiting: e.pending.length, labels: e.labels,
          loaded: e.loaded, count: e.clip.count, stale: e.stale, points: e.masks.map((frame) =>
            Object.fromEntries(Object.entries(frame ?? {}).map(([n, entry]) => [n, entry.points.length]))),
          area: e.masks.map((frame) => Object.fromEntries(Object.entries(frame ?? {}).map(([n, entry]) =>
            [n, area(entry)]))) }; })()"""
    )


def until(page, test, what):
    wait(lambda: test(state(page)), what)
    return state(page)


def all_loaded(page):
    until(page, lambda s: s["loaded"] == s["count"], "the frames are loaded")


def press_at_picture(page, key):
    """Press a key there, which words at a mask would take."""
    page.evaluate(
        """(({ bubble, surface }) => { bubble.close();
          surface.canvas.focus({ preventScroll: true }); })(window.regrain.editor.parts)"""
    )
    page.keyboard.press(key)


def press_until(page, key, test, what):
    press_at_picture(page, key)
    return until(page, test, what)


def spot(page, at, side=SIDE):
    box = page.locator(".rg-canvas-stage canvas").bounding_box()
    return box["x"] + (at[0] + 0.5) / side * box["width"], box["y"] + (
        at[1] + 0.5
    ) / side * box["height"]


def click(page, at, side=SIDE, **options):
    page.mouse.click(*spot(page, at, side), **options)


def paint(page, *path):
    drag(page, *(spot(page, at) for at in path))


def pixel(page, at):
    return pixel_of(
        page.locator(".rg-canvas-stage canvas"), *(place / SIDE for place in at)
    )


def start_empty(page):
    """An example without its masks, as if it were one's own clip."""
    all_loaded(page)
    page.click("#tabs >> text=Masks")  # an example may begin with its result
    for left in (1, 0):
        open_card(page, state(page)["labels"][0])
        page.locator("[data-act=delete]").first.click()
        until(
            page, lambda s, left=left: len(s["labels"]) == left, "a region is deleted"
        )


def describe(page, label, words, source):
    write(page, f".rg-card-words[data-label='{label}'] [data-key=prompt]", words)
    write(page, f".rg-card-words[data-label='{label}'] [data-key=source]", source)


def mask(page, frame, label, size):
    """The canvas's mask of a region as bool [size, size]."""
    runs = page.evaluate(f"window.regrain.editor.masks[{frame}]?.[{label}]?.runs ?? ''")
    lengths = [int(n) for n in runs.split()]
    out = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return np.pad(out, (0, size * size - len(out))).reshape(size, size)


def noise(frames):
    """A grey ground that no one has drawn."""
    return np.random.default_rng(0).integers(
        90, 110, (frames, 96, 128, 3), dtype=np.uint8
    )


def write_film(path, ground):
    """A red box that rests on a ground."""
    ground[:, 30:70, 40:90] = (220, 40, 40)
    write_video(path, ground, Fraction(24))
    return path


def film(path, width, height, frames=8):
    """A red box on a noisy ground."""
    ground = np.random.default_rng(0).integers(90, 110, (1, height, width, 3))
    pictures = ground.astype(np.uint8).repeat(frames, axis=0)
    box = np.s_[:, height // 3 : height // 2, width // 3 : width // 2]
    pictures[box] = (220, 40, 40)
    write_video(path, pictures, Fraction(24))
    return path

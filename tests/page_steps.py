"""Visits of the page in a browser, told in a file of steps: `tests/page/visits/*.txt`.

`# title | look` begins a visit; `look` is what the page is opened with, if it is not
the shared one. Below it each line is a step: a way and what is given to it, with ` = `
between two things. Who looks waits until it is so.

    click SELECTOR           see SELECTOR           text SELECTOR = all its text
    write SELECTOR = text    gone SELECTOR          says SELECTOR = a part of its text
    press keys, on the page  hidden SELECTOR        value SELECTOR = what a field holds
    draw keys, at the clip   count SELECTOR = n     is what JavaScript makes of the page

Other ways are methods of `Steps`. In JavaScript (`page_steps.js`), `$` and `$$` find
things, `box` tells where one is, `e` is the editor, `area` counts pixels of a mask,
`points` its clicks, `was` is what `keep` has kept, `text` what is written, `near`
compares numbers, and `report` fetches that of the result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import browser
import canvas

_SEEN = Path(__file__).with_suffix(".js").read_text()
_BACK = "PageDown", "ArrowLeft"
_CANVAS = ".rg-canvas-stage canvas"


def read_visits(folder: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the title, the look and the steps of each visit."""
    for file in sorted(folder.glob("*.txt")):
        for told in re.split(r"^# ", file.read_text(), flags=re.MULTILINE)[1:]:
            head, *steps = told.strip().splitlines()
            title, _, look = head.partition(" | ")
            yield f"{file.stem}: {title}", look, [one for one in steps if one.strip()]


class Steps:
    """Takes steps on a page.

    Args:
        page: The page.
        server: What serves it.
        folder: Where files of a visitor are written.
        files: What writes them, by name.
    """

    def __init__(
        self, page: Any, server: Any, folder: Path, files: dict[str, Callable]
    ) -> None:
        self.page = page
        self.server = server
        self.folder = folder
        self.files = files
        self.held: dict[str, Any] = {}
        self.before = server.steps()
        self.stalling: list[Any] = []
        self.was: dict[str, Any] = {}

    def take(self, line: str) -> None:
        """Take the step of a line."""
        way, _, given = line.strip().partition(" ")
        alone = {"is", "keep", "do", "see", "gone", "hidden", "there", "click"}
        first, _, second = given.partition(" = ")
        try:
            if way in alone:
                getattr(self, {"is": "is_"}.get(way, way))(given)
            elif second:
                getattr(self, way)(first, second)
            else:
                getattr(self, way)(*([given] if given else []))
        except Exception as error:
            error.add_note(f"at: {line}")
            raise

    # To look

    def look(self, expression: str) -> Any:
        """Return what JavaScript makes of the page."""
        script = f"async (was) => {{ {_SEEN}\nreturn ({expression}); }}"
        return self.page.evaluate(script, self.was)

    def wait(self, test: Callable[[], bool]) -> None:
        browser.wait(test, "it is as it should be")

    def is_(self, expression: str) -> None:
        self.wait(lambda: self.look(f"Boolean(await ({expression}))"))

    def keep(self, given: str) -> None:
        name, _, expression = given.partition(" = ")
        self.was[name] = json.loads(self.look(f"JSON.stringify(await ({expression}))"))

    def see(self, selector: str) -> None:
        self.page.wait_for_selector(selector)

    def there(self, selector: str) -> None:
        self.page.wait_for_selector(selector, state="attached")

    def gone(self, selector: str) -> None:
        self.page.wait_for_selector(selector, state="detached")

    def hidden(self, selector: str) -> None:
        self.page.wait_for_selector(selector, state="hidden")

    def text(self, selector: str, text: str) -> None:
        self.wait(lambda: self.page.inner_text(selector) == text)

    def says(self, selector: str, text: str) -> None:
        self.wait(lambda: text in self.page.inner_text(selector))

    def value(self, selector: str, text: str = "") -> None:
        self.wait(lambda: self.page.input_value(selector) == text)

    def count(self, selector: str, number: str) -> None:
        self.wait(lambda: self.page.locator(selector).count() == int(number))

    # To do

    def do(self, script: str) -> None:
        self.look(f"(() => {{ {script} }})()")

    def click(self, selector: str) -> None:
        self.page.click(selector)

    def fill(self, selector: str, text: str = "") -> None:
        self.page.fill(selector, text)

    def lines(self, selector: str, text: str) -> None:
        self.page.fill(selector, text.replace(" / ", "\n"))

    def tap(self, selector: str) -> None:
        self.page.tap(selector)

    def hover(self, selector: str) -> None:
        self.page.hover(selector)

    def focus(self, selector: str) -> None:
        self.page.focus(selector)

    def press(self, keys: str) -> None:
        for key in keys.split():
            self.page.keyboard.press(key)

    def tab(self, selector: str) -> None:
        """Press the Tab key until a thing has the focus."""
        for _ in range(120):
            if self.look(f"document.activeElement.matches({selector!r})"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError("the Tab key does not reach it")

    def draw(self, keys: str) -> None:
        for key in keys.split():
            canvas.press_at_picture(self.page, key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def write(self, field: str, text: str) -> None:
        browser.write(self.page, field, text)

    def settle(self, field: str, given: str) -> None:
        """Fill a field until the page has taken it, as JavaScript tells."""
        text, _, taken = given.partition(" = ")
        taking = partial(self.look, taken)
        browser.fill_until(self.page, self.page.locator(field), text, taking)

    def number(self, field: str, text: str) -> None:
        browser.fill_number(self.page, self.page.locator(field).first, text)

    def choose(self, selector: str, option: str) -> None:
        self.page.select_option(selector, option)

    def unfold(self, folds: str) -> None:
        browser.unfold(self.page, *folds.split())

    def card(self, label: str) -> None:
        browser.open_card(self.page, int(label))

    def refine(self, selector: str) -> None:
        browser.refine(self.page, selector)

    def menu(self, text: str) -> None:
        browser.choose_in_menu(self.page, text)

    def example(self, name: str) -> None:
        browser.open_example(self.page, name)

    def empty(self) -> None:
        canvas.start_empty(self.page)

    def loaded(self) -> None:
        canvas.all_loaded(self.page)

    def place(self, at: str) -> tuple[float, float]:
        """Return where a pixel of the clip is seen."""
        x, y, width, height = self.page.locator(_CANVAS).bounding_box().values()
        share = "(([x, y]) => [(x + 0.5) / e.clip.width, (y + 0.5) / e.clip.height])"
        across, down = self.look(f"{share}([{at}])")
        return x + across * width, y + down * height

    def point(self, places: str) -> None:
        for at in places.split():
            self.page.mouse.click(*self.place(at))

    def move(self, at: str) -> None:
        self.page.mouse.move(*self.place(at))

    def double(self, at: str) -> None:
        self.page.mouse.dblclick(*self.place(at))

    def pull(self, at: str, by: str) -> None:
        """Drag from a pixel of the clip by so many of the screen."""
        x, y = self.place(at)
        across, down = self.look(f"[{by}]")
        browser.drag(self.page, (x, y), (x + across, y + down))

    def wheel(self, by: str, times: str) -> None:
        for _ in range(int(times)):
            self.page.mouse.wheel(0, float(by))

    def down(self, key: str) -> None:
        self.page.keyboard.down(key)

    def up(self, key: str) -> None:
        self.page.keyboard.up(key)

    def paint(self, path: str) -> None:
        browser.drag(self.page, *map(self.place, path.split()))

    def touch(self, at: str) -> None:
        self.page.touchscreen.tap(*self.place(at))

    def within(self, selector: str, path: str) -> list[tuple[float, float]]:
        """Return places within a thing that is in sight, told by shares of its sides."""
        thing = self.page.locator(selector).first
        thing.scroll_into_view_if_needed()
        x, y, width, height = thing.bounding_box().values()
        places = [self.look(f"[{one}]") for one in path.split()]
        return [(x + right * width, y + down * height) for right, down in places]

    def drag(self, selector: str, path: str) -> None:
        browser.drag(self.page, *self.within(selector, path))

    def slide(self, handle: str, to: str) -> None:
        """Drag the middle of a handle to a place within another thing."""
        track, _, at = to.rpartition(" ")
        (begin,), (end,) = self.within(handle, "0.5,0.5"), self.within(track, at)
        browser.drag(self.page, begin, end)

    def at(self, selector: str, place: str) -> None:
        self.page.mouse.click(*self.within(selector, place)[0])

    def grab(self, selector: str) -> None:
        self.page.mouse.move(*self.within(selector, "0.1,0.1")[0])
        self.page.mouse.down()

    def letgo(self) -> None:
        self.page.mouse.up()

    def away(self) -> None:
        self.page.mouse.move(5, 5)

    def size(self, size: str) -> None:
        width, height = map(int, size.split())
        self.page.set_viewport_size({"width": width, "height": height})

    def file(self, name: str) -> Path:
        """Return a file of the visitor."""
        path = self.folder / name
        if not path.exists():
            self.files[name](path)
        return path

    def upload(self, name: str) -> None:
        self.page.set_input_files("#upload", self.file(name))

    def give(self, selector: str, name: str) -> None:
        self.page.locator(selector).first.set_input_files(self.file(name))

    def offer(self, selector: str, name: str) -> None:
        """Choose a file where a press asks for one."""
        with self.page.expect_file_chooser() as chooser:
            self.page.click(selector)
        chooser.value.set_files(self.file(name))

    def drop(self, names: str) -> None:
        browser.drop(self.page, *map(self.file, names.split(" + ")))

    def dragenter(self, name: str) -> None:
        browser.drop(self.page, self.file(name), kind="dragenter")

    def save(self, name: str, selector: str) -> None:
        """Keep what is downloaded, by this name, when a thing is pressed."""
        with self.page.expect_download() as download:
            self.page.click(selector)
        found = download.value.suggested_filename
        assert found == name, found
        download.value.save_as(self.folder / name)

    def frames(self, given: str) -> None:
        """Choose a stretch of one's own file, from 1, and maybe a stride, by keys."""
        first, last, *stride = map(int, given.split())
        ends = ("Last frame", last), ("First frame", first)
        if not self.page.is_visible(".rg-trim-track"):
            self.menu("Frames")
        self.choose(".rg-trim select", str(*stride or [1]))
        for name, frame in (*ends, ends[0]):
            handle = self.page.get_by_role("slider", name=name)
            handle.focus()
            at = partial(handle.get_attribute, "aria-valuenow")
            self.press("End" if frame > int(at()) else "Home")
            while by := frame - int(at()):
                far, near = ("PageUp", "ArrowRight") if by > 0 else _BACK
                self.press(far if abs(by) >= 10 else near)
        self.click("text=Use these frames")

    def finger(self, selector: str, path: str) -> None:
        """Drag within a thing by a finger."""
        cdp = self.page.context.new_cdp_session(self.page)
        kind = "touchStart"
        for x, y in self.within(selector, path):
            points = [{"x": x, "y": y}]
            cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            kind = "touchMove"
        cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def hold(self, place: str) -> None:
        name, at = place.split()
        self.held[name] = self.server.hold(name, int(at))
        self.held[name].__enter__()

    def release(self, name: str = "") -> None:
        """Let the editor go on, from one place or all at which it is held."""
        for one in [name] if name else [*self.held]:
            self.held.pop(one).__exit__(None, None, None)

    def stall(self, pattern: str) -> None:
        """Let no request of a kind through."""
        self.stalling.clear()
        self.page.route(pattern, lambda route: self.stalling.append(route))

    def stalled(self, count: str) -> None:
        self.wait(lambda: self.look("true") and len(self.stalling) == int(count))

    def unstall(self) -> None:
        for route in self.stalling:
            route.continue_()
        self.page.unroute_all()

    def idle(self) -> None:
        """The editor has done nothing since the visit began."""
        assert self.server.steps() == self.before

    def did(self, step: str, times: str) -> None:
        """So often the editor has done this since the visit began."""
        new = self.server.steps()[len(self.before) :]
        assert new.count(step) == int(times)

    def worked(self, step: str) -> None:
        self.wait(lambda: self.server.steps()[-1] == step)

    def mark(self, name: str) -> None:
        (self.server.folder / name).touch()

    def unmark(self, name: str) -> None:
        (self.server.folder / name).unlink()

    def ask(self) -> None:
        browser.press_run(self.page)

    def over(self) -> None:
        self.page.wait_for_function(browser.ENDED)

    def result(self) -> None:
        browser.wait_for_result(self.page)

    def run(self) -> None:
        browser.run(self.page)

    def project(self) -> None:
        """Keep what project.json says, as Save writes it."""
        self.was["project"] = browser.project_of(self.page, self.folder)

    def reload(self) -> None:
        self.page.reload()
        self.page.wait_for_function("window.regrain?.restored")

    def plays(self, names: str) -> None:
        for name in names.split():
            self.wait(partial(browser.plays, self.page, name))

"""Every entry of every menu in every view, as the page itself lists them, by mouse, by
keyboard or by touch: what it opens is seen, can be left in every way, and leaves the
page as it was. What opens a dialogue is walked in all three ways, other entries are
dealt out among them."""

from functools import partial
from zlib import crc32

import pytest
from browser import PHONE, press_run, wait, wait_for_result, write
from canvas import all_loaded, click, film, until

pytestmark = [pytest.mark.full, pytest.mark.browser]
SIZE = 128  # pixels of a side of the clip
THING = 52, 52
VIEWS = "[aria-label='What is shown'] button"
MENUS = ".rg-menu > button[aria-expanded]"
ENTRIES = ".rg-menu:has(> [aria-expanded=true]) > .rg-panel :is(button, a)"
ABOVE = "dialog[open], .api-docs"
NAME = "node => node.innerText.trim().split('\\n')[0] || node.ariaLabel || node.title"
CROSS = "button:text-is('Close'), [value=no], .banner-wrap button"
# What is above all else, unless a person sees none of it.
SEEN = """node => { const { left, top, width, height } = node.getBoundingClientRect();
  const [x, y] = [left + width / 2, top + Math.min(height, innerHeight - top) / 2];
  return width > 150 && height > 80 && left >= 0 && x < innerWidth &&
    node.contains(document.elementFromPoint(x, y)); }"""
# A place beside what is above all else.
BESIDE = """node => [[4, 4], [innerWidth - 4, 4], [4, innerHeight - 4]].find(([x, y]) => {
  const parts = node.localName === "dialog" ? [node] : [...node.children].slice(1);
  return !parts.some((part) => { const { left, top, right, bottom } = part.getBoundingClientRect();
    return x >= left && x <= right && y >= top && y <= bottom; }); })"""
WAYS = ("mouse", "keyboard", "touch")
STATE = """() => ({ view: [document.body.dataset.stage, window.regrain.compare],
  clip: window.regrain.clip.title,
  results: document.querySelectorAll('.rg-run-picture').length,
  marks: [...document.body.classList].filter((name) => /^(rg-full|dark|rg-lost)$/.test(name)).sort(),
  menus: document.querySelectorAll('.rg-menu > [aria-expanded=true]').length })"""
HITS = """node => { node.scrollIntoView({ block: 'center' });
  const { left, top, width, height } = node.getBoundingClientRect();
  return node.contains(document.elementFromPoint(left + width / 2, top + height / 2)); }"""


class Walk:
    """Walks through menus, and presses things in one way."""

    def __init__(self, open_it, way: str, folder):
        self.open_it = open_it
        self.way = way
        self.clip = film(folder / "own.mp4", SIZE, SIZE) or folder / "own.mp4"
        self.begin()

    def begin(self):
        """Open a page with a clip of one's own and its result, which all menus need."""
        self.page = self.open_it()
        self.page.on("filechooser", lambda chooser: None)
        self.page.set_input_files("#upload", self.clip)
        self.page.wait_for_function("window.regrain.clip.own")
        all_loaded(self.page)
        click(self.page, THING, SIZE)
        until(self.page, lambda s: s["area"][0].get("1"), "a mask")
        write(self.page, ".rg-card-words [data-key=prompt]", "a fox")
        self.page.keyboard.press("Escape")
        press_run(self.page)
        wait_for_result(self.page)

    def press(self, node):
        """Press a thing as this visitor does."""
        node.scroll_into_view_if_needed()
        if self.way == "touch":
            node.tap()
        elif self.way == "mouse":
            node.click()
        else:
            node.focus()
            assert self.page.evaluate("node => document.activeElement === node", node)
            self.page.keyboard.press("Enter")

    def show(self, view: str):
        """Show a view, all menus closed."""
        if view not in self.shown(VIEWS):
            self.press(self.shown(VIEWS)["Edit"])
        if self.state()["menus"]:
            self.page.keyboard.press("Escape")
        self.press(self.shown(VIEWS)[view])
        wait(lambda: not self.state()["menus"], f"no menu is open in {view}")

    def shown(self, selector: str) -> dict:
        """Return what can be pressed by its name."""
        nodes = self.page.query_selector_all(selector)
        live = [one for one in nodes if one.is_visible() and one.is_enabled()]
        return {one.evaluate(NAME): one for one in live}

    def state(self) -> dict:
        return self.page.evaluate(STATE)

    def open_menu(self, menu: str):
        opener = self.shown(MENUS)[menu]
        if opener.get_attribute("aria-expanded") != "true":
            self.press(opener)
        return opener

    def leave(self, how: str):
        """Leave what is above all else by Escape, by its cross, or by a press beside
        it."""
        above = self.page.query_selector(ABOVE)
        beside = above.evaluate(BESIDE)  # a phone may have no such place
        if how == "cross":
            self.press(above.query_selector(CROSS))
        elif how == "beside" and beside:
            touches = self.way == "touch"
            pointer = self.page.touchscreen.tap if touches else self.page.mouse.click
            pointer(*beside)
        else:
            self.page.keyboard.press("Escape")
        wait(lambda: not self.page.query_selector(ABOVE), f"{how} leaves it")

    def offers(self, menu: str, name: str, view: str):
        """Have a menu offer an entry, if need be on a page that nobody has changed."""
        self.show(view)
        opener = self.open_menu(menu)
        if name not in self.shown(ENTRIES):
            self.page.close()
            self.begin()
            self.show(view)
        else:
            self.close_menu(opener)

    def take(self, menu: str, name: str) -> bool:
        """Press an entry of a menu, and leave what is above all else then; returns
        whether anything was."""
        before = self.state()
        opener = self.open_menu(menu)
        entry = self.shown(ENTRIES)[name]
        place = [*self.shown(ENTRIES)].index(name)
        example = entry.get_attribute("data-name")
        opens = entry.get_attribute("aria-haspopup") == "dialog"
        above = None
        ways = ("Escape", "cross", "beside") if opens else ("Escape",)
        for how in ways:
            self.open_menu(menu)
            self.press(self.shown(ENTRIES)[name])
            if opens:
                self.page.wait_for_selector(ABOVE, state="attached")
            self.page.wait_for_timeout(200)  # what it asks the server for comes
            above = self.page.query_selector(ABOVE)
            if above:
                wait(partial(above.evaluate, SEEN), "what is opened is seen")
                self.leave(how)
            if opens:
                self.close_menu(opener)
                assert self.state() == before
                assert opener.evaluate(HITS)
        if example:
            wait(lambda: self.state()["clip"] != before["clip"], "another clip is open")
        elif self.state()["marks"] != before["marks"]:  # such as Dark
            self.open_menu(menu)
            self.press([*self.shown(ENTRIES).values()][place])
            wait(lambda: self.state()["marks"] == before["marks"], "it turns back")
        return above is not None

    def close_menu(self, opener):
        if opener.get_attribute("aria-expanded") == "true":
            self.page.keyboard.press("Escape")
        opens = partial(opener.get_attribute, "aria-expanded")
        wait(lambda: opens() == "false", "Escape closes a menu")

    def settle(self, before: dict):
        """Begin anew once an entry has brought or taken away a clip or a result."""
        after = self.state()
        if any(after[key] != before[key] for key in ("clip", "results")):
            self.page.close()
            self.begin()


def is_walked(way: str, name: str, entry) -> bool:
    """Return whether one of the three walks takes an entry."""
    opens = entry.get_attribute("aria-haspopup") == "dialog"
    return opens or WAYS[crc32(name.encode()) % len(WAYS)] == way


@pytest.mark.parametrize("way", WAYS)
def test_each_entry_of_each_menu_opens_and_can_be_left(
    server, open_page, tmp_path, way
):
    options = PHONE if way == "touch" else {}
    walk = Walk(partial(open_page, server, **options), way, tmp_path)
    views = [*walk.shown(VIEWS)]
    assert len(views) == 4
    once = set()  # what opens nothing above all else, and so needs no other view
    walked = []
    for view in views:
        walk.show(view)
        for menu in walk.shown(MENUS):
            opener = walk.open_menu(menu)
            entries = walk.shown(ENTRIES)
            names = [name for name in entries if is_walked(way, name, entries[name])]
            walk.close_menu(opener)
            for name in names:
                if (menu, name) in once:
                    continue
                walk.offers(menu, name, view)
                before = walk.state()
                try:
                    if not walk.take(menu, name):
                        once.add((menu, name))
                    walk.settle(before)
                except Exception as error:
                    error.add_note(f"{name} of {menu} in {view}")
                    raise
                walked.append((view, name))
            walk.show(view)
    assert len(walked) > 12
    assert {view for view, name in walked if name == "API and MCP"} == {*views}
    with_keys = {view for view, name in walked if name == "Keys"}
    assert with_keys == (set() if way == "touch" else {*views})  # a phone has none

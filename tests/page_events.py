"""A page without a browser: its events are sent as a browser sends them, and what the
server answers is kept by component."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import gradio as gr
import records
from gradio.blocks import BlockFunction
from gradio.data_classes import GradioDataModel
from gradio.exceptions import Error
from gradio.state_holder import SessionState

from regrain.ui.session.session_store import SessionStore

PAGE = "p" * 32
# What differs from run to run, in texts and by key.
_VOLATILE = re.compile(
    r"data:[\w/]+;base64,[\w+/=]+|/[^\s\"]*/|[0-9a-f]{16,}|\d+ s$|\d+ s\b"
)
_UNEQUAL = {"time", "turn", "anew", "seconds", "key", "pressed", "used", "size"}
_DECLARED = {"parameters", "methods"}  # elsewhere, and tested there
# What is told of the page, of a component and of an event; the rest is Gradio's own.
_PAGE = "title", "analytics_enabled", "fill_width", "connect_heartbeat"
_PART = (
    "elem_id",
    "elem_classes",
    "label",
    "show_label",
    "visible",
    "interactive",
    "container",
    "padding",
    "apply_default_css",
    "html_template",
    "js_on_load",
    "choices",
    "allow_custom_value",
    "file_types",
    "file_count",
    "variant",
    "scale",
    "min_width",
)
_EVENT = (
    "js",
    "queue",
    "api_name",
    "api_visibility",
    "show_progress",
    "trigger_mode",
    "trigger_after",
    "trigger_only_on_success",
    "trigger_only_on_failure",
    "concurrency_limit",
    "api_description",
)
_LONG = 120  # characters of a text, such as a mask, that is kept as a sum


class PageEvents:
    """A page that is open.

    Args:
        page: As it is built.
        names: What its components are called, by number.
        visits: The store of its sessions.
        root: The folder of all that it keeps.

    Attributes:
        root: That folder.
        values: What each component shows, by name; JSON, as it is sent.
        heard: For each event, what it changed by component, texts of what was refused,
            and what a program was answered.
        answered: What the last call of a program was answered.
    """

    def __init__(
        self, page: gr.Blocks, names: dict[int, str], visits: SessionStore, root: Path
    ) -> None:
        self._page = page
        self._names = names
        self._visits = visits
        self.root = root
        headers = {"x-regrain-page": PAGE}
        client = SimpleNamespace(host="127.0.0.1")
        self._request = SimpleNamespace(
            session_hash="session", headers=headers, client=client
        )
        self.heard: list[dict[str, object]] = []
        self.answered: list[Any] = []
        self._before: dict[str, object] = {}
        self._failed: list[str] = []
        self._changed: list[str] = []
        self._open()

    def _open(self) -> None:
        self._state = SessionState(self._page)
        self.values: dict[str, Any] = {}
        for number, name in self._names.items():
            self.values[name] = _json(getattr(self._page.blocks[number], "value", None))

    def restart(self) -> None:
        """Lose what the process knows of pages, and their files; the page shows again
        what it was, with all its masks. Noted is what differs from before."""
        for page, session in self._visits.sessions():
            self._visits.projects.keep(page, session)
            self._visits.media.forget(page)
            session.let_go()
        self._visits._pages.clear()
        self._open()
        self._fire("load", None, {})
        self._fire("offer", "head", {"page": PAGE})
        self._fire("back", "head", {"gone": False, "typed": None})
        whole = {"id": self.values["canvas"]["id"], "have": 0, "frame": 0, "nonce": 1}
        self._fire("act", "canvas", whole | {"act": "look"})
        self._note("restart")

    def itself(self) -> dict[str, object]:
        """Return what the page as a whole is."""
        config: Any = self._page.get_config_file()
        kept = {"delete_cache": self._page.delete_cache}
        return kept | {key: config[key] for key in _PAGE}

    def parts(self) -> list[dict[str, object]]:
        """Return what the page is made of, each with what lies in it."""
        config: Any = self._page.get_config_file()
        told = {part["id"]: part for part in config["components"]}

        def about(place: dict[str, Any]) -> dict[str, object]:
            part = told[place["id"]]
            name = self._names.get(part["id"], part["type"])
            within = [about(one) for one in place.get("children", ())]
            return {"is": name, **_said(part["props"], _PART), "within": within}

        return [about(place) for place in config["layout"]["children"]]

    def events(self) -> list[dict[str, object]]:
        """Return what each event takes, gives and follows."""
        return [
            {
                "on": [f"{self._called(part)}.{name}" for part, name in event.targets],
                "takes": " ".join(self._called(part._id) for part in event.inputs),
                "gives": " ".join(self._called(part._id) for part in event.outputs),
                **_said(vars(event), _EVENT),
            }
            for event in self._page.fns.values()
        ]

    def endpoints(self) -> dict[str, dict[str, object]]:
        """Return what programs are told of the arguments of each endpoint."""
        told: Any = self._page.get_api_info()
        return {
            endpoint: {
                one["parameter_name"]: [one["parameter_default"], _own(one["type"])]
                for one in about["parameters"]
            }
            for endpoint, about in told["named_endpoints"].items()
        }

    def _called(self, number: int | None) -> str:
        part = self._page.blocks.get(number or 0)  # none is the page itself
        return self._names.get(number or 0, type(part or self._page).__name__)

    def load(self) -> None:
        """Open the page."""
        self._fire("load", None, {})
        self._note("load")

    def send(self, component: str, event: str, **data: object) -> None:
        """Send an event of a component, and all that follow from it."""
        self._fire(event, component, data)
        self._note(f"{component}.{event}")

    def _note(self, event: str, **more: object) -> None:
        """Note what has changed since the event before, and more."""
        shown = self.values.items()
        now = {name: settled(value, self.root) for name, value in shown}
        # kept in the background: which was last is not said
        now["recent"]["items"].sort(key=lambda item: item["title"])
        changed = _differing(self._before, now)
        more |= changed | {"failed": self._failed}
        told = {name: value for name, value in more.items() if value != []}
        self.heard.append({"event": event, **told})
        self._before, self._failed = now, []

    def type(self, component: str, **value: object) -> None:
        """Change what a component says, as its script does."""
        before = self.values[component] or {}
        self.values[component] = {**before, **value}

    def choose(self, component: str, value: object) -> None:
        """Choose in a list of Gradio's, or upload a file."""
        self.values[component] = value

    def call(self, name: str, **given: object) -> None:
        """Call an endpoint, as a program does."""
        (fn,) = (one for one in self._page.fns.values() if one.api_name == name)
        values = []
        for argument, about in inspect.signature(fn.fn).parameters.items():
            if argument != "request":
                values.append(given.get(argument, about.default))
        self.answered = anyio.run(self._call, fn, values)
        self._note(f"/{name}", answered=settled(self.answered, self.root))

    async def _call(self, fn: BlockFunction, values: list[object]) -> list[Any]:
        try:
            answer = await self._page.process_api(
                fn,
                values,
                state=self._state,
                request=self._request,  # type: ignore[arg-type]
            )
        except Error as error:
            self._failed.append(error.message)
            return []
        return _json(answer["data"])

    def _fire(self, event: str, component: str | None, data: dict[str, object]) -> None:
        heard = False
        for fn in [*self._page.fns.values()]:
            for number, name in fn.targets:
                if name == event and self._names.get(number or 0) == component:
                    heard = True
                    anyio.run(self._run, fn, data)
        assert heard, f"nothing hears {event} of {component}"
        while self._changed:
            self._fire("change", self._changed.pop(), {})

    async def _run(self, fn: BlockFunction, data: dict[str, object]) -> None:
        succeeded = True
        if fn.fn:
            succeeded = await self._answer(fn, data)
        for after in self._page.fns.values():
            if after.trigger_after != fn._id:
                continue
            if after.trigger_only_on_success and not succeeded:
                continue
            if after.trigger_only_on_failure and succeeded:
                continue
            await self._run(after, {})
        if fn.js and "askToLook" in str(fn.js):
            for look in self._page.fns.values():
                if ("look" in dict(look.targets).values()) and self._is_of(
                    look, "checks"
                ):
                    await self._answer(look, {})

    def _is_of(self, fn: BlockFunction, component: str) -> bool:
        return any(
            self._names.get(number or 0) == component for number, _ in fn.targets
        )

    async def _answer(self, fn: BlockFunction, data: dict[str, object]) -> bool:
        inputs = [self.values[self._names[block._id]] for block in fn.inputs]
        event = gr.EventData(None, data)
        iterator = None
        while True:
            try:
                answer = await self._page.process_api(
                    fn,
                    inputs,
                    state=self._state,
                    request=self._request,  # type: ignore[arg-type]
                    event_data=event,
                    iterator=iterator,
                )
            except Error as error:
                self._failed.append(error.message)
                return False
            goes_on = answer["is_generating"]
            if goes_on or iterator is None:  # the end of a generator says nothing
                for block, value in zip(fn.outputs, answer["data"], strict=True):
                    self._take(self._names[block._id], value)
            iterator = answer["iterator"]
            if not goes_on:
                return True

    def _take(self, name: str, value: object) -> None:
        value = _json(value)
        if isinstance(value, dict) and value.get("__type__") == "update":
            value = value.get("value", self.values[name])
        changed = value != self.values[name]
        self.values[name] = value
        if name == "model" and changed:  # as a list of Gradio's says
            self._changed.append(name)


def _differing(before: dict[str, Any], now: dict[str, Any]) -> dict[str, object]:
    """Return what has changed by component, of each only its own keys that have; None
    where a key is gone."""
    changed: dict[str, object] = {}
    for name in now:
        old, new = before.get(name), now[name]
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            keys = {**old, **new}
            new = {key: new.get(key) for key in keys if old.get(key) != new.get(key)}
        changed[name] = new
    return changed


def _said(given: dict[str, Any], keys: tuple[str, ...]) -> dict[str, object]:
    return {key: given[key] for key in keys if given.get(key)}


def _own(schema: Any) -> Any:
    """Return a schema without what is Gradio's: what a file is."""
    if isinstance(schema, list):
        return [_own(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    is_file = "orig_name" in schema.get("properties", {})
    return {
        key: _own(one)
        for key, one in schema.items()
        if not (is_file and key in ("properties", "title"))
    }


def _json(value: object) -> Any:
    if isinstance(value, GradioDataModel):
        value = value.model_dump()
    return json.loads(json.dumps(value, default=str))


def settled(value: Any, root: Path) -> Any:
    """Return what is shown without what differs from run to run, as files in `root`."""
    return records.settled(value, root, _UNEQUAL | _DECLARED, _VOLATILE, _LONG)


def uploaded(folder: Path, file: Path) -> str:
    """Return the place of a file as one that a browser has uploaded."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / file.name
    place.write_bytes(file.read_bytes())
    return str(place)

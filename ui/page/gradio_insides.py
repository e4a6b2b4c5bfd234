"""The page's dependence on how Gradio works inside, where it offers no official way, in
one place.

As seen on Gradio 6.31.0. A test of the same name fails once one no longer holds, so that
an upgrade of Gradio tells which. Those of the browser are in
`ui/js/head/gradio_insides.js`; what the style sheets and `ui/js` know of Gradio's elements
is in `tests/page/test_gradio_in_browser.py`.

- preprocess_data: A value that a component cannot hold raises there, whatever the
  error.
- api_defaults: The components of `gr.api` hold defaults, yet its server asks for all
  arguments.
- postprocess_data: All answers pass through it, before they become JSON.
- process_api: All errors of an event pass through it, before they become a trace.
- state_holder: Keeps copies of components for 10,000 sessions, of sessions that have
  ended, too.
- mcp_server_obj: Set once the page is served; its `postprocess_output_data` writes
  objects as Python.
- sleep_when_free: The queue looks for new events a thousand times a second, also of
  idle pages.
- html_events: gr.HTML has an event for each name that stands in quotes in its script.
- html_empty: In the browser, the value of a gr.HTML that has none is an empty text.
- head_request: At its start it asks itself for HEAD /, and gives a busy machine up.
- interfaces: Its import renders what editors read of each component whose file
  `inspect` finds.
- config_file: The configuration repeats what each component takes; its server reads
  `api_info`.
- own_tags: The page has Open Graph tags that name Gradio.
- unknown_session: The events of an unknown session end in a RuntimeError, once they
  have begun.
- wrong_calls: A call that does not fit its endpoint raises a TypeError; of no endpoint,
  two others.
- client_fetch: The browser's client sends everything by `window.fetch`.
- spinner: Once the page is there, its first spinner goes on asking for animation
  frames.
- window_config: `window.gradio_config` has `root`, `api_prefix`, `app_id` and
  `dependencies`.
- api_panel: What programs need is a panel that a press on `.backdrop` closes, and
  Escape does not.
- elements: Its elements have the classes in `ELEMENTS` of that test.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio_client.utils import is_file_obj_with_meta

from regrain.editing.errors import EditingError
from regrain.ui.api.endpoints import Refused
from regrain.ui.handlers.base import BROKEN
from regrain.ui.views.shown import sent
from regrain.ui.work.wording import sentence

log = logging.getLogger(__name__)
# seconds between looks for new events; Gradio's own 0.001 takes 6 % of a core from idle
# pages
POLL = 0.01

_MALFORMED = "Page: It sent a value that fits no field. Reload it."
_UNREADABLE = "Call: An argument is missing, or a file cannot be read. Check them, and call again."


def poll_calmly(page: gr.Blocks) -> None:
    """Have the queue of a page look for new events less often; see `POLL`."""
    page._queue.sleep_when_free = POLL


class Page(gr.Blocks):
    """Gradio's blocks; takes views for answers, and never shows a traceback."""

    def drop_session(self, session: str) -> None:
        """Free gradio's copies of all components for a session; it would keep those of
        10,000 sessions."""
        if holder := getattr(self, "state_holder", None):  # once the page is served
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)

    @property
    def mcp_server_obj(self) -> Any:
        """Gradio's server of MCP tools, once the page is served."""
        return self.__dict__.get("mcp_server_obj")

    @mcp_server_obj.setter
    def mcp_server_obj(self, server: Any) -> None:
        if server:
            server.postprocess_output_data = partial(
                _as_json, server.postprocess_output_data
            )
        self.__dict__["mcp_server_obj"] = server

    def get_config_file(self) -> Any:
        """Return the configuration without what it says twice."""
        config = super().get_config_file()
        for component in config["components"]:
            component["props"].pop("_api_info", None)
            for key in ("api_info_as_input", "api_info_as_output"):
                if component.get(key) == component.get("api_info"):
                    component.pop(key, None)
        return config

    async def preprocess_data(
        self,
        block_fn: BlockFunction,
        inputs: list[object],
        *args: object,
        **kwargs: object,
    ) -> list[object]:
        """Preprocess as gradio does; values that a component cannot hold are refused in
        one line.

        A program that gives its arguments by place may leave out the last ones.
        """
        is_public = block_fn.api_visibility == "public"
        if is_public:
            left_out = [block.value for block in block_fn.inputs[len(inputs) :]]
            inputs = [*inputs, *left_out]
        try:
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except Exception as error:
            log.info("a malformed event: %s", type(error).__name__)
            message = _UNREADABLE if is_public else _MALFORMED
            raise Refused(message) from None

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: object, state: object
    ) -> list[object]:
        """Postprocess views as gradio does the JSON of them."""
        return await super().postprocess_data(block_fn, sent(predictions), state)

    async def process_api(self, *args: object, **kwargs: object) -> dict[str, object]:
        """Process an event as gradio does; a fault is logged here and said in one
        line."""
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error as error:
            # gradio's, such as of a file that nobody uploaded
            if error.print_exception:
                raise Refused(_MALFORMED) from None
            raise
        except EditingError as error:
            raise Refused(sentence(error)) from None
        except Exception:
            log.exception("an event failed")
            raise Refused(BROKEN) from None


def _as_json(
    tell: Callable[[list[object], str], object], answers: list[object], root: str
) -> object:
    """Let `tell` write the answers of an MCP tool as JSON; by itself it writes objects
    as Python does."""
    texts = [one if is_file_obj_with_meta(one) else json.dumps(one) for one in answers]
    return tell(texts, root)

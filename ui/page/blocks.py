"""The page as gradio's blocks, which answer a malformed event with one line of the page's own."""

from __future__ import annotations

import copy
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
from regrain.ui.views.wording import sentence

log = logging.getLogger(__name__)
_MALFORMED = "Page: It sent a value that fits no field. Reload it."
_UNREADABLE = "Call: An argument is missing, or a file cannot be read. Check them, and call again."


class Page(gr.Blocks):
    """Gradio's blocks; never shows a traceback, and re-renders only what an answer changed."""

    def drop_session(self, session: str) -> None:
        """Free gradio's copies of all components for a session; it would keep those of 10,000 sessions."""
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
            server.postprocess_output_data = partial(_as_json, server.postprocess_output_data)
        self.__dict__["mcp_server_obj"] = server

    async def preprocess_data(self, block_fn: BlockFunction, *args: Any, **kwargs: Any) -> Any:
        """Preprocess as gradio does; values that a component cannot hold are refused in one line."""
        try:
            return await super().preprocess_data(block_fn, *args, **kwargs)
        except Exception as error:
            log.info("a malformed event: %s", type(error).__name__)
            message = _UNREADABLE if block_fn.api_visibility == "public" else _MALFORMED
            raise Refused(message) from None

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: Any, state: Any
    ) -> list[Any]:
        """Postprocess as gradio does, which would also make every component anew that stays as it is."""
        by_component = isinstance(predictions, dict) and bool(predictions)
        if not by_component or not set(predictions) <= set(block_fn.outputs):
            return await super().postprocess_data(block_fn, predictions, state)
        changed = {block: value for block, value in predictions.items() if value != gr.skip()}
        answers: dict[Any, Any] = {}
        if changed:
            part = copy.copy(block_fn)
            part.outputs = list(changed)
            values: Any = list(changed.values())
            if len(values) == 1:  # gradio takes the value of a single component without a list
                values = values[0]
            answered = await super().postprocess_data(part, values, state)
            answers = dict(zip(changed, answered, strict=True))
        return [answers.get(block, gr.skip()) for block in block_fn.outputs]

    async def process_api(self, *args: Any, **kwargs: Any) -> Any:
        """Process an event as gradio does; a fault is logged here and said in one line."""
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error as error:
            if error.print_exception:  # gradio's, such as of a file that nobody uploaded
                raise Refused(_MALFORMED) from None
            raise
        except EditingError as error:
            raise Refused(sentence(error)) from None
        except Exception:
            log.exception("an event failed")
            raise Refused(BROKEN) from None


def _as_json(tell: Callable[[list[Any], str], Any], answers: list[Any], root: str) -> Any:
    """Let `tell` write the answers of an MCP tool as JSON; by itself it writes objects as Python does."""
    texts = [one if is_file_obj_with_meta(one) else json.dumps(one) for one in answers]
    return tell(texts, root)

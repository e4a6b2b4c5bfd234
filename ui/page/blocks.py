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
from regrain.ui.views.views import sentence

log = logging.getLogger(__name__)
_MALFORMED = "Page: It sent a value that fits no field. Reload it."
_UNREADABLE = "Call: An argument is missing, or a file cannot be read. Check them, and call again."


class Page(gr.Blocks):
    """Blocks whose events never end in a trace of gradio's, and whose answers cost what they change."""

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
        """As in gradio; values that a component cannot hold are refused in one line."""
        try:
            return await super().preprocess_data(block_fn, *args, **kwargs)
        except Exception as error:
            log.info("a malformed event: %s", type(error).__name__)
            message = _UNREADABLE if block_fn.api_visibility == "public" else _MALFORMED
            raise Refused(message) from None

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: Any, state: Any
    ) -> list[Any]:
        """As in gradio, which would make every component anew that an answer leaves as it is."""
        if (
            not isinstance(predictions, dict)
            or not predictions
            or not {*predictions} <= {*block_fn.outputs}
        ):
            return await super().postprocess_data(block_fn, predictions, state)
        told = {block: value for block, value in predictions.items() if value != gr.skip()}
        values, some = [*told.values()], copy.copy(block_fn)
        some.outputs = [*told]
        if told:  # of one component, a value alone
            answers = await super().postprocess_data(
                some, values if values[1:] else values[0], state
            )
            told = dict(zip(told, answers, strict=True))
        return [told.get(block, gr.skip()) for block in block_fn.outputs]

    async def process_api(self, *args: Any, **kwargs: Any) -> Any:
        """As in gradio; a fault is logged here and said in one line."""
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
    """What a tool of MCP tells: `tell` would write objects as Python does."""
    return tell([one if is_file_obj_with_meta(one) else json.dumps(one) for one in answers], root)

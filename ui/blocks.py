"""The page as gradio's blocks, which answer a malformed event with one line of the page's own."""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr

from editing.errors import EditingError
from ui.masking import BROKEN
from ui.views import sentence

log = logging.getLogger(__name__)
_MALFORMED = "Page: It sent what no field holds. Reload it."


class Page(gr.Blocks):
    """Blocks whose events never end in a trace of gradio's."""

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> Any:
        """As in gradio; values that a component cannot hold are refused in one line."""
        try:
            return await super().preprocess_data(*args, **kwargs)
        except Exception as error:
            log.info("a malformed event: %s", type(error).__name__)
            raise gr.Error(_MALFORMED, print_exception=False) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> Any:
        """As in gradio; a fault is logged here and said in one line."""
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error as error:
            if error.print_exception:  # gradio's, such as of a file that nobody uploaded
                raise gr.Error(_MALFORMED, print_exception=False) from None
            raise
        except EditingError as error:
            raise gr.Error(sentence(error), print_exception=False) from None
        except Exception:
            log.exception("an event failed")
            raise gr.Error(BROKEN, print_exception=False) from None

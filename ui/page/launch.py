"""Start the page."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import tempfile
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from regrain.ui.page.first_import import no_interfaces
from regrain.ui.server.own_machine import (
    OPEN,
    is_own_machine,
    keeping,
    place_models,
)

# Holds the visitors' files. It goes with the process or, if that is killed, at the next
# start.
# Where projects are kept, it is beside them, so that no file is written twice.
_PROJECTS, _UNKEPT = keeping()
_PLACE = _PROJECTS / OPEN if _PROJECTS else Path(tempfile.gettempdir()).resolve()
FOLDER = _PLACE / f"regrain-{secrets.token_hex(8)}"
# Read by gradio when it is imported: uploads are there, too, and nothing is reported to
# anyone.
os.environ["GRADIO_TEMP_DIR"] = str(FOLDER / "uploads")
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# Read by NumPy: its matrices are small here, and threads that wait for each other's part
# of one take the cores of a run.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

with no_interfaces():
    import gradio as gr
from starlette.middleware import Middleware  # noqa: E402

from regrain.editing.models.files.lora_file import fast_lora  # noqa: E402
from regrain.editing.storage.folders import named_by, private  # noqa: E402
from regrain.editing.storage.local_models import ASSETS  # noqa: E402
from regrain.editing.storage.memory import share_arenas  # noqa: E402
from regrain.ui.page import safety, zero_gpu  # noqa: E402
from regrain.ui.page.build import build  # noqa: E402
from regrain.ui.page.components import theme  # noqa: E402
from regrain.ui.page.gradio_insides import poll_calmly  # noqa: E402
from regrain.ui.page.head import PageHead  # noqa: E402
from regrain.ui.page.layout import Tools  # noqa: E402
from regrain.ui.server.media import Media  # noqa: E402
from regrain.ui.server.worker import start_thread  # noqa: E402
from regrain.ui.session.clip_files import MAX_ARCHIVE  # noqa: E402
from regrain.ui.session.examples import load_examples  # noqa: E402

log = logging.getLogger(__name__)
_EXCEPTED = ("NO_PROXY", "no_proxy")  # hosts that are asked past a proxy
MAX_EVENTS = 1000  # that wait for a thread; each is short
MAX_THREADS = 256  # pages that watch a run hold one event each


def _call(module: str, name: str, /, *given, **how):
    """Call a function that is imported only now, in the thread that works: torch takes
    seconds."""
    return getattr(import_module(f"regrain.{module}"), name)(*given, **how)


edit = partial(_call, "editing", "edit")
segment = partial(_call, "masks", "segment")
propagate = partial(_call, "masks", "propagate")
plan_tuning = partial(_call, "editing.pipeline.beforehand", "plan_tuning")


@cache
def load_ahead(model: str) -> None:
    """Begin to load what the usual edits of a model take, once, if the model comes with a
    LoRA for few steps."""
    fast = fast_lora(model)
    if fast:
        load = partial(_call, "editing", "load_backbone", model, (fast,))
        start_thread(load, "load ahead")


def reach_directly() -> None:
    """Let this machine be asked past any proxy of the environment: Gradio calls its own
    page."""
    here = ["localhost", "127.0.0.1", "::1"]
    name = os.environ.get("GRADIO_SERVER_NAME")
    if name:
        here.append(name)
    excepted: list[str] = []
    for variable in _EXCEPTED:
        excepted += os.environ.get(variable, "").split(",")
    hosts = dict.fromkeys(host.strip() for host in [*excepted, *here] if host.strip())
    for variable in _EXCEPTED:
        os.environ[variable] = ",".join(hosts)


def launch(
    tools: Tools, examples: Path, model_folder: Path = ASSETS / "storybook"
) -> None:
    """Serve the page until interrupted, at $GRADIO_SERVER_NAME and $GRADIO_SERVER_PORT.

    `examples` holds project folders, `model_folder` the built-in model.
    """
    place_models(_PROJECTS)
    # What was computed from strangers' clips goes with the process.
    if os.environ.get("SPACE_ID"):
        os.environ.setdefault("REGRAIN_CACHE", str(FOLDER / "cache"))
    if _UNKEPT:
        log.warning(_UNKEPT)
    reach_directly()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with private(FOLDER, "regrain-[0-9a-f]{16}"), suppress(SystemExit):
        media = Media(FOLDER / "media")
        page: gr.Blocks = build(
            tools,
            load_examples(examples, media.examples),
            media,
            model_folder,
            _PROJECTS,
            _UNKEPT,
        )
        # Events of all pages share the length of this queue. Runs wait in their own,
        # `ui.server.run_queue`.
        page.queue(max_size=MAX_EVENTS, default_concurrency_limit=8)
        poll_calmly(page)
        page.launch(
            theme=theme(),
            allowed_paths=[str(media.root)],
            ssr_mode=False,
            # Gradio knows where only a shared link can be reached (Colab, Kaggle), reads
            # $GRADIO_SHARE elsewhere, and prints the link.
            share=None,
            prevent_thread_lock=True,  # notebooks would not wait
            mcp_server=find_spec("mcp") is not None,  # an extra of the package
            footer_links=["api"],
            favicon_path=str(Path(__file__).parents[1] / "favicon.svg"),
            max_threads=MAX_THREADS,
            app_kwargs={"middleware": [Middleware(PageHead)]},
            # an adapter of Stable Diffusion has 300 MB; videos of visitors may have
            # fewer, one's own any size
            max_file_size=None
            if _PROJECTS and is_own_machine()
            else f"{MAX_ARCHIVE // 10**6}mb",
        )
        page.block_thread()
    sys.stdout.flush()
    if not hasattr(sys, "ps1"):  # a notebook goes on
        # torch, if a run is inside it, would abort when the interpreter ends
        os._exit(0)


def main() -> None:
    """Serve the page with the editor and the examples that ship."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    share_arenas()
    spaces = zero_gpu.package()  # before torch
    from regrain.masks.models.sam import missing

    editor = safety.guarded(edit) if safety.wanted() else edit
    tools = Tools(
        editor,
        segment,
        propagate,
        missing(),
        plan_tuning,
        load_ahead=load_ahead,
    )
    if spaces:
        tools = zero_gpu.lent(tools, spaces)
    launch(tools, named_by("REGRAIN_EXAMPLES") or ASSETS / "examples")

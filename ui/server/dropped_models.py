"""Weights of one's own that are dropped on the page: each file streams into the folder of
models, under its name once it is whole; LoRA files go to their folder there."""

from __future__ import annotations

import logging
import re
import shutil
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from regrain.editing.errors import EditingError, ModelError, ResourceError, shorten
from regrain.editing.models.adapters import read_facts
from regrain.editing.models.files.file_head import read_head
from regrain.editing.models.files.location import check_packed
from regrain.editing.models.weights.lora import check_lora
from regrain.editing.request.project import is_name
from regrain.editing.storage.folders import replacing
from regrain.editing.storage.local_models import models_folder
from regrain.ui.server.own_machine import LOCAL, is_own_machine

log = logging.getLogger(__name__)
ADDRESS = "/regrain/models"
_ENDING = ".safetensors"
_LORA = re.compile(r"lora|lokr|hada_|dora")  # in the names of its tensors
_OTHERS = "A LoRA can be added so; for adapters and SAMs see docs/models.md."


def can_take() -> bool:
    """Tell whether models may be dropped: on one's own machine, where they have a
    folder."""
    return is_own_machine() and models_folder() is not None


async def take(scope: Scope, receive: Receive, send: Send) -> None:
    """Take one file, the body of a PUT with its `name`; answer with the name, or with
    what is wrong."""
    request = Request(scope, receive)
    try:
        answer = JSONResponse({"name": await _taken(request)})
    except ClientDisconnect:  # given up
        return
    except EditingError as error:
        answer = JSONResponse({"error": error.message}, 400)
    except OSError as error:  # whose text would name the file
        log.warning("a model could not be written: %s", type(error).__name__)
        message = "The folder of models cannot be written, or its disk is full."
        answer = JSONResponse({"error": message}, 400)
    await answer(scope, receive, send)


async def _taken(request: Request) -> str:
    """Take the file, and return its name; an EditingError if it must not be taken."""
    folder = models_folder()
    if folder is None or not _is_from_here(request):
        raise ResourceError("model", "Models are taken from this machine alone.")
    name = request.query_params.get("name", "")
    size = int(request.headers.get("content-length", 0))
    try:
        target = _place_of(name, size, folder)
    except EditingError:
        async for _ in request.stream():
            pass  # a browser reads no answer while it sends
        raise
    place = await _write(request, target)
    return place.relative_to(folder).as_posix()


def _place_of(name: str, size: int, folder: Path) -> Path:
    """Return where a file of so many bytes goes; an EditingError if it must not."""
    _check_name(name)
    target = folder / name
    if target.exists():
        said = f"{shorten(name)} is in the folder already."
        raise ModelError("model", f"{said} Choose it above, or rename yours.")
    folder.mkdir(parents=True, exist_ok=True)
    if size > shutil.disk_usage(folder).free:
        said = (
            f"{shorten(name)} has {size / 1e9:.1f} GB, for which the disk has no room."
        )
        raise ResourceError("model", f"{said} Free some, and drop it again.")
    return target


def _check_name(name: str) -> None:
    """Refuse, by a ModelError, what is named as other files, or as a folder."""
    check_packed(name)
    if not name.lower().endswith(_ENDING):
        said = f"{shorten(name)} is no {_ENDING} file, and others may run code."
        raise ModelError("model", f"{said} Drop the same weights as {_ENDING}.")
    if "/" in name or not is_name(name) or name.startswith("."):
        said = f"{shorten(name)} cannot be the name of a model."
        raise ModelError("model", f"{said} Use letters, numbers, dots, - and _.")


def _is_from_here(request: Request) -> bool:
    """Tell whether a request comes from the page itself, opened on this machine; other
    pages of the same browser could send one, too."""
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    same = origin is None or urlsplit(origin).netloc == host
    return can_take() and same and urlsplit(f"//{host}").hostname in LOCAL


async def _write(request: Request, target: Path) -> Path:
    """Write a file where what it holds belongs, which it returns."""
    with replacing(target) as partial:
        async with await anyio.open_file(partial, "wb") as file:
            async for part in request.stream():
                await file.write(part)
        place = target.parent / await anyio.to_thread.run_sync(place_of, partial)
        if target.exists() or place.exists():  # another page dropped the same
            raise ModelError("model", f"{shorten(target.name)} is there already.")
    if place != target:
        place.parent.mkdir(exist_ok=True)
        target.rename(place)
    return place


def place_of(path: Path) -> str:
    """Return where a file belongs in the folder of models: `loras/NAME`; the name alone
    of a model and a tuned model.

    Raises:
        ModelError: It is damaged, or nothing that is added so.
    """
    head = read_head(path)
    if any(_LORA.search(name) for name in head.names):
        check_lora(path)
        return f"loras/{path.name}"
    with suppress(ModelError):
        read_facts(path)
        return path.name
    try:
        head.check_whole()
    except ModelError as error:
        raise ModelError("model", f"{error.message} {_OTHERS}") from error
    return path.name

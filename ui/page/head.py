"""The frame around the page: its head, with a script that runs before all others."""

from __future__ import annotations

import html
import logging
import re
from pathlib import Path

from gradio.route_utils import FnIndexInferError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from regrain.ui.page import scripts
from regrain.ui.server import dropped_models

log = logging.getLogger(__name__)
TITLE = "Regrain"
DESCRIPTION = "Edit each thing in a video with its own words: click it, say what it should become, run."
SHARE_IMAGE = "/regrain/share.png"
# a frame of the first example, before and after
_PICTURE = Path(__file__).parents[1] / "share.png"
# Gradio's own tags, which name Gradio.
_FOREIGN = re.compile(r'\s*<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')


class PageHead:
    """Puts the head into the page as `app` sends it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # a quarter is left; gradio packs scripts alone
        self._page = GZipMiddleware(self._rewritten, compresslevel=5)

    async def _rewritten(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, _rewriting(scope, send))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        app = _own_answer(scope) or self._app
        if _is_asked(scope, "/", "GET"):
            app = self._page
        try:
            await app(scope, receive, send)
        except RuntimeError as error:
            if not isinstance(error.__cause__, HTTPException):
                raise
            # Gradio refuses the events of a session it does not know once it has begun
            # to send them.
            log.info("events of an unknown session: %s", error.__cause__.status_code)
            await send({"type": "http.response.body", "body": b""})
        except (FnIndexInferError, KeyError, TypeError) as error:
            if not re.search("/(call|run|api)/", scope["path"]):
                raise
            # Before a call is queued, Gradio raises what does not fit its endpoint.
            why = str(error).partition(". ")[0]
            log.info("a call that fits no endpoint: %s", why)
            said = f"Call: It fits no endpoint: {why}. See /gradio_api/info."
            await JSONResponse({"error": said}, 400)(scope, receive, send)


def _is_asked(scope: Scope, path: str, *methods: str) -> bool:
    asked = scope["type"] == "http" and scope["path"] == path
    return asked and scope["method"] in methods


def _own_answer(scope: Scope) -> ASGIApp | None:
    """Return what is served here instead of by Gradio, if the request is for that."""
    # Gradio's own, at its start: a busy machine is not given up
    if _is_asked(scope, "/", "HEAD"):
        return Response()
    if _is_asked(scope, SHARE_IMAGE, "GET", "HEAD"):
        return FileResponse(_PICTURE, headers={"cache-control": "max-age=86400"})
    if scope["type"] == "http" and scope["path"].startswith(scripts.ADDRESS):
        return _file(scope)
    if _is_asked(scope, dropped_models.ADDRESS, "PUT"):
        return dropped_models.take
    return None


def _file(scope: Scope) -> ASGIApp:
    """Return a script or the style sheet of the page, which a browser keeps for good:
    its address has its version."""
    name = scope["path"].removeprefix(scripts.ADDRESS)
    if name not in scripts.FILES:
        return PlainTextResponse("Not found", 404)
    if scope["method"] not in ("GET", "HEAD"):
        return PlainTextResponse("Method not allowed", 405, {"allow": "GET, HEAD"})
    kind = "text/css" if name == scripts.STYLE else "text/javascript"
    headers = {
        "cache-control": "public, max-age=31536000, immutable",
        "x-content-type-options": "nosniff",
    }
    answer = Response(scripts.FILES[name], headers=headers, media_type=kind)
    return GZipMiddleware(answer)


def _rewriting(scope: Scope, send: Send) -> Send:
    """Gather the page, change its head, then send it."""
    start: Message = {}
    parts: list[bytes] = []

    async def gather(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        parts.append(message.get("body", b""))
        if message.get("more_body"):
            return
        page = b"".join(parts)
        headers = MutableHeaders(scope=start)
        if headers.get("content-type", "").startswith("text/html"):
            page = with_head(page.decode(), _address(scope)).encode()
        headers["content-length"] = str(len(page))
        await send(start)
        await send({"type": "http.response.body", "body": page})

    return gather


def _address(scope: Scope) -> str:
    """Where visitors find the page, without a slash at its end."""
    headers = Headers(scope=scope)
    scheme = headers.get("x-forwarded-proto", scope.get("scheme", "http")).split(",")[0]
    host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0]
    return f"{scheme}://{host}{scope.get('root_path', '')}"


def with_head(page: str, address: str) -> str:
    """The page with tags of its own for those who share it, and its first script."""
    properties = {
        "og:type": "website",
        "og:title": TITLE,
        "og:description": DESCRIPTION,
        "og:url": f"{address}/",
        "og:image": address + SHARE_IMAGE,
        "og:image:alt": "A rabbit and a cat on a meadow; beside it the same frame with a panda and a fox.",
        "twitter:card": "summary_large_image",
    }
    tags = f"<title>{TITLE}</title>\n" + "".join(
        f'<meta property="{key}" content="{html.escape(text)}">\n'
        for key, text in properties.items()
    )
    tags += f'<meta name="description" content="{html.escape(DESCRIPTION)}">\n'
    for name in scripts.first_modules():
        tags += f'<link rel="modulepreload" href=".{scripts.ADDRESS}{name}">\n'
    # Modules run in the order in which the page names them, so this one comes before
    # all of Gradio's.
    first = f'<script type="module" src=".{scripts.ADDRESS}{scripts.FIRST}"></script>\n'
    page = _FOREIGN.sub("", page)
    return page.replace("<script", f"{first}<script", 1).replace(
        "</head>", f"{tags}</head>", 1
    )

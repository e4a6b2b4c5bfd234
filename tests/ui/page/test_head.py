"""What stands between a browser and Gradio: the head of the page, its packing, what is
answered in place of Gradio."""

import pytest
from gradio.route_utils import FnIndexInferError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from regrain.ui.page.head import TITLE, PageHead

PAGE = '<html><head><meta property="og:title" content="Gradio"></head><body></body>'


def page(_):
    return StreamingResponse(iter([PAGE[:30], PAGE[30:]]), media_type="text/html")


# What Gradio raises of a call that fits no endpoint.
KINDS = {"": KeyError, "arguments": TypeError, "name": FnIndexInferError}


def no_endpoint(request):
    raise KINDS[request.url.query]("nothing. More of it")


def no_session(request):
    async def events():
        yield b"event"
        raise RuntimeError from HTTPException(404)

    return StreamingResponse(events())


@pytest.fixture
def client():
    routes = [
        Route("/", page),
        Route("/gradio_api/call/nothing", no_endpoint),
        Route("/other", no_endpoint),
        Route("/events", no_session),
        Route("/plain", lambda _: HTMLResponse(PAGE)),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(PageHead)])
    with TestClient(app) as client:  # which tells of the server's start and end, too
        yield client


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_the_page_is_sent_with_its_own_head(client, accepted):
    sent = {
        "accept-encoding": accepted,
        "x-forwarded-host": "regrain.example, inner",
        "x-forwarded-proto": "https, http",
    }
    answer = client.get("/", headers=sent)
    assert answer.headers.get("content-encoding", "identity") == accepted
    assert answer.headers["vary"].lower() == "accept-encoding"
    assert "https://regrain.example/regrain/share.png" in answer.text
    assert f'property="og:title" content="{TITLE}"' in answer.text
    assert 'content="Gradio"' not in answer.text
    assert client.get("/plain").text == PAGE
    assert "http://testserver/regrain" in client.get("/").text


def test_what_gradio_is_not_asked(client):
    assert client.head("/").status_code == 200
    picture = client.get("/regrain/share.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["cache-control"] == "max-age=86400"
    assert client.put("/regrain/models", content=b"").status_code == 400


def test_a_call_that_fits_no_endpoint_and_events_of_no_session(client):
    for kind in KINDS:
        answer = client.get(f"/gradio_api/call/nothing?{kind}")
        assert answer.status_code == 400
        said = answer.json()["error"].replace("'", "")
        assert said == "Call: It fits no endpoint: nothing. See /gradio_api/info."
    assert client.get("/events").content == b"event"
    with pytest.raises(KeyError):
        client.get("/other")

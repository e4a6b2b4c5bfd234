"""Events no page would send: any type in any field. The page answers in one line; the
log has no trace."""

import json
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from browser import LONGEST

pytestmark = pytest.mark.full

ANYTHING = [
    None,
    True,
    -1,
    10**400,
    0.5,
    "x",
    "",
    [],
    [[]],
    ["x", 3],
    {},
    {"id": 1},
    {"path": "/etc/passwd"},
]
ACTS = "point unpoint stroke box reshape feather undo redo stop add rest delete clear find tracker look none"
KEYS = """label frame at from to how inside path radius erase kind pixels all by wanted nonce cards name key
 form start stride frames loras weight regions a b number run prompts source_prompt"""
FAULT = (
    r"Error\b|object has no|not subscriptable|Traceback|must be str|unhashable|NoneType"
)


def post(server, body: dict) -> int:
    url = f"{server.url}/gradio_api/queue/join"
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), kind)
    try:
        with urllib.request.urlopen(request, timeout=LONGEST) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def answers(server, session: str, sent: int) -> list[str]:
    """What a session is told went wrong, of all its events; empty where nothing did."""
    found = []
    url = f"{server.url}/gradio_api/queue/data?session_hash={session}"
    with urllib.request.urlopen(url, timeout=LONGEST) as stream:
        for line in stream:
            message = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if message.get("msg") == "process_completed":
                found.append(message["output"].get("error") or "")
            if len(found) == sent:
                break
    return found


@pytest.fixture(scope="module")
def events(server) -> list[dict]:
    """Every kind of event of the page that reaches Python, as gradio's configuration
    has it."""
    config = json.loads(server.get("/config")[1])["dependencies"]
    public = json.loads(server.get("/gradio_api/info")[1])["named_endpoints"]
    kept = {}  # many listeners share a handler
    for event in config:
        if (
            not event["backend_fn"]
            or f"/{event['api_name']}" in public
            or "unload" in str(event["targets"])
        ):
            continue
        handler = re.sub(r"_\d+$", "", str(event["api_name"]))
        kind = (handler, len(event["inputs"]), event["collects_event_data"])
        kept.setdefault(kind, event)
    assert len(kept) > 30
    return [*kept.values()]


def send_all(server, bodies: dict[str, list[dict]]):
    """Send what each session sends, all at once; every event is answered, and none with
    a fault."""
    before = server.output.read_text().count("Traceback")
    flat = [
        {"session_hash": session, **body}
        for session, sent in bodies.items()
        for body in sent
    ]
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda body: post(server, body), flat)) == {200}
        told = pool.map(
            lambda session: answers(server, session, len(bodies[session])), bodies
        )
        said = [text for session in told for text in session]
    assert len(said) == len(flat)
    assert [text for text in said if re.search(FAULT, text)] == []
    assert server.output.read_text().count("Traceback") == before, (
        server.output.read_text()[-3000:]
    )


def test_anything_in_every_field_of_every_event(server, events):
    def body(event: dict, value) -> dict:
        return {
            "fn_index": event["id"],
            "data": [value] * len(event["inputs"]),
            "event_data": value,
        }

    sent = {
        f"any{n}": [body(event, value) for event in events]
        for n, value in enumerate(ANYTHING)
    }
    send_all(server, sent)


@pytest.mark.parametrize("page", ["", "gone"], ids=["own", "stale"])
def test_anything_in_every_field_of_what_events_say(server, events, page):
    said = [event for event in events if event["collects_event_data"]]
    (act,) = [
        event["id"]
        for event in said
        if event["targets"] and event["targets"][0][1] == "act"
    ]

    def body(event: int, value, **more) -> dict:
        return {
            "fn_index": event,
            "data": [None]
            * sum(len(one["inputs"]) for one in said if one["id"] == event),
            "event_data": dict.fromkeys(KEYS.split(), value)
            | {"id": page, "have": 0}
            | more,
        }

    bodies = {
        f"{page}{number}": [
            *(body(event["id"], value) for event in said),
            *(body(act, value, act=name) for name in ACTS.split()),
            body(act, value, have=value),
            body(act, value, id=value),
        ]
        for number, value in enumerate(ANYTHING if page == "" else ANYTHING[::4])
    }
    send_all(server, bodies)


def test_events_of_the_wrong_length(server, events):
    counts = ((event["id"], len(event["inputs"])) for event in events)
    bodies = [
        {"fn_index": n, "data": data}
        for n, count in counts
        for data in ([None] * (count + 3), [])
    ]
    send_all(server, {"length": bodies})

"""Events no page would send: any type in any field. The page answers in one line; the log has no trace."""

import json
import re
import urllib.request

import pytest

ANYTHING = [None, True, -1, 1e308, 0.5, "x", "", [], [[]], ["x", 3], {}, {"id": 1}, {"path": "/etc/passwd"}]
ACTS = [
    "point",
    "unpoint",
    "stroke",
    "reshape",
    "undo",
    "redo",
    "stop",
    "add",
    "delete",
    "clear",
    "find",
    "look",
    "nothing",
]
KEYS = "label frame at inside path radius erase kind pixels all by wanted nonce cards name key act keys runs"


def post(server, body: dict) -> int:
    request = urllib.request.Request(
        f"{server.url}/gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def answers(server, session: str, sent: int) -> list[dict]:
    """What a session is told of all its events."""
    found = []
    url = f"{server.url}/gradio_api/queue/data?session_hash={session}"
    with urllib.request.urlopen(url, timeout=600) as stream:
        for line in stream:
            message = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if message.get("msg") == "process_completed":
                found.append(message)
            if len(found) == sent:
                break
    return found


def events(server) -> list[tuple[int, int]]:
    """Number and count of inputs of every event of the page that reaches Python."""
    config = json.loads(server.get("/config")[1])
    return [
        (event["id"], len(event["inputs"]))
        for event in config["dependencies"]
        if event["backend_fn"] and event["targets"] and "unload" not in str(event["targets"])
    ]


def send_all(server, session: str, bodies: list[dict]):
    assert {post(server, {"session_hash": session, **body}) for body in bodies} == {200}
    said = [message["output"].get("error") or "" for message in answers(server, session, len(bodies))]
    assert len(said) == len(bodies)
    for text in filter(None, said):
        assert not re.search(r"Error\b|object has no|not subscriptable|Traceback|must be str", text), text
    assert "Traceback" not in server.output.read_text()


@pytest.mark.parametrize("value", ANYTHING, ids=repr)
def test_every_event_with_anything_in_every_field(server, value):
    bodies = [
        {"fn_index": number, "data": [value] * count, "event_data": value, "trigger_id": 1}
        for number, count in events(server)
    ]
    assert len(bodies) > 30
    send_all(server, f"any{ANYTHING.index(value)}", bodies)


@pytest.mark.parametrize("value", ANYTHING, ids=repr)
def test_every_act_of_the_canvas_with_anything_in_its_fields(server, value):
    known = {"id": "", "have": 0}
    data = [known | dict.fromkeys(KEYS.split(), value) | {"act": act} for act in ACTS]
    data += [{**data[0], "have": value}, {**data[0], "id": value}]
    numbers = events(server)
    bodies = [
        {"fn_index": number, "data": [one] * count, "event_data": one}
        for one in data
        for number, count in numbers
        if count <= 2
    ]
    send_all(server, f"act{ANYTHING.index(value)}", bodies)


def test_events_of_the_wrong_length(server):
    bodies = [{"fn_index": number, "data": [None] * (count + 3)} for number, count in events(server)]
    bodies += [{"fn_index": number, "data": []} for number, _ in events(server)]
    send_all(server, "length", bodies)

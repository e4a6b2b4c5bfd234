"""What programs see: endpoints for their own videos, over the official client and as
tools of MCP."""

import asyncio
import base64
import filecmp
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from browser import ROOT, as_program, wait
from clicked_regions import CLICKED, LEFT, RIGHT, WORDS
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from regrain.editing.media.reading import VideoClip
from regrain.editing.removed import INSTEAD, instead

ENDPOINTS = ["edit_video", "track", "segment"]


@pytest.fixture(scope="module")
def clip(server) -> Path:
    return server.folder / "examples" / "01_two_discs" / "clip.mkv"


@pytest.fixture(scope="module")
def client(server, tmp_path_factory) -> Client:
    return as_program(server.url, download_files=str(tmp_path_factory.mktemp("made")))


def mcp(server, talk):
    """What a real client of MCP is told."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def run():
        url = f"{server.url}/gradio_api/mcp/"
        async with (
            streamable_http_client(url) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await talk(session)

    return asyncio.run(run())


def test_what_is_shared_of_the_page_is_its_own(server):
    page = server.get("/")[1].decode()
    assert "<title>Regrain</title>" in page
    assert re.findall(r'property="og:title" content="([^"]*)"', page) == ["Regrain"]
    (picture,) = re.findall(r'property="og:image" content="([^"]*)"', page)
    assert picture.startswith(server.url)
    status, content = server.get(picture.removeprefix(server.url))
    assert status == 200
    assert len(content) <= 30_000
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert image.size == (600, 315)  # the least for a large card
    favicon = server.get("/favicon.ico")[1]
    assert favicon == (ROOT / "ui" / "favicon.svg").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", str(ROOT / "requirements.txt"), str(ROOT / "ui" / "page.py")],
)
def test_no_file_but_media_is_served(server, path):
    assert server.get(f"/gradio_api/file={path}")[0] == 403


def test_an_own_video_is_edited_by_clicks(client, clip):
    asked = {"source_prompt": "a cat and a dog walk", "params": {"steps": 4}}
    video, report = client.predict(
        handle_file(clip), CLICKED, **asked, api_name="/edit_video"
    )
    source = VideoClip(clip)
    edited = VideoClip(Path(video))
    assert (len(edited), edited.size) == (len(source), source.size)
    before, after = (one.read(0, 1)[0].astype(int) for one in (source, edited))
    for x, y in ((70, 120), (180, 150)):
        assert abs(before[y, x] - after[y, x]).max() > 60
    assert abs(before[10, 10] - after[10, 10]).max() < 6
    assert report["prompt_used"] == "a fox and a panda walk"
    assert report["params"]["steps"] == {"value": 4}
    # as `path`, the client would want to download it
    assert report["request"]["clip"]["file"] == "clip.mp4"
    with av.open(video) as container:
        assert container.metadata["comment"] == "AI-edited video"
        assert container.streams.video[0].codec_context.name == "h264"
    for kind, name in (("matte", "edited_matte.zip"), ("prores", "edited.mov")):
        file, _ = client.predict(
            handle_file(clip), CLICKED, **asked, format=kind, api_name="/edit_video"
        )
        assert Path(file).name == name


def test_tracked_masks_go_into_an_edit(client, clip):
    regions = [{"name": "cat", "clicks": [LEFT]}, {"label": 5, "clicks": [RIGHT]}]
    masks, said = client.predict(handle_file(clip), regions, api_name="/track")
    assert said["frames"] == 8
    assert said["regions"]["cat"] == {"lost": [[7, 7]], "doubtful": [[5, 6]]}
    with zipfile.ZipFile(masks) as archive:
        assert len(archive.namelist()) == 8
        assert archive.comment == b"Made with Regrain"
        labels = np.array(Image.open(archive.open("00000.png")))
    assert (labels[120, 70], labels[150, 180], labels[10, 10]) == (1, 5, 0)
    words = [WORDS[0], {**WORDS[1], "label": 5}]
    asked = {"masks": handle_file(masks), "source_prompt": "a cat and a dog walk"}
    video, _ = client.predict(handle_file(clip), words, **asked, api_name="/edit_video")
    del asked["masks"]
    clicked, _ = client.predict(
        handle_file(clip), CLICKED, **asked, api_name="/edit_video"
    )
    assert filecmp.cmp(video, clicked, shallow=False)


def test_a_part_of_a_video_is_used_and_clicks_count_in_it(client, clip):
    clicks = [{"x": 70 + 4 * 6, "y": 120, "frame": 2}]
    used = {"start": 2, "stride": 2, "frames": 3}
    masks, said = client.predict(
        handle_file(clip), [{"clicks": clicks}], **used, api_name="/track"
    )
    assert said["frames"] == 3
    with zipfile.ZipFile(masks) as archive:
        assert np.array(Image.open(archive.open("00002.png")))[120, 94] == 1


@pytest.mark.parametrize(
    "how", [{"clicks": [LEFT]}, {"box": [25, 75, 115, 165]}], ids=["clicks", "box"]
)
def test_a_mask_of_a_frame(client, clip, how):
    mask, found = client.predict(handle_file(clip), **how, api_name="/segment")
    inside = np.array(Image.open(mask))
    assert inside.shape == (256, 256)
    assert set(np.unique(inside)) == {0, 255}
    assert found["share"] == pytest.approx(np.pi * 42**2 / 256**2, rel=0.02)
    assert found["box"] == pytest.approx([28, 78, 112, 162], abs=2)


@pytest.mark.parametrize(
    ("endpoint", "asked", "said"),
    [
        ("/edit_video", {"regions": [{"prompt": 3}]}, "regions.0.prompt: Expected text, got 3."),
        ("/edit_video", {"regions": [{"promt": "a"}]}, "regions.0.promt: Unknown key. Did you mean"),
        ("/edit_video", {"regions": [{"clicks": [{"x": "a", "y": 3}]}]}, "regions.0.clicks.0.x: Expected"),
        ("/edit_video", {"regions": [{"clicks": [{**LEFT, "frame": 8}]}]}, "clicks.0.frame: 8 is outside"),
        ("/edit_video", {"regions": [{"clicks": [{"x": 300, "y": 3}]}]}, "clicks.0: (300, 3) is outside"),
        ("/edit_video", {"regions": [{"clicks": [{"x": 9, "y": 9}]}]}, "clicks: Frame 0: Nothing was found"),
        ("/edit_video", {"regions": [{"prompt": "a fox"}]}, "regions.Region 1.mask: The region has no mask."),
        ("/edit_video", {"regions": [{"picture": {"path": "/etc/passwd"}}]}, "regions.0.picture: The file"),
        ("/edit_video", {"method": "videograine"}, "method: 'videograine' was not found."),
        ("/edit_video", {"model": "owner/name"}, "model: 'owner/name' is not on this machine yet."),
        ("/edit_video", {"loras": ["a/b"], "method": "sdedit", "prompt": "a fox"}, "loras: 'a/b'"),
        ("/edit_video", {"tracker": "nobody"}, "tracker: 'nobody' was not found."),
        ("/edit_video", {"start": 9}, "video: The clip has 8 frames"),
        ("/edit_video", {"video": {"path": "/etc/passwd"}}, "video: The file did not arrive."),
        ("/edit_video", {"video": handle_file(__file__)}, "'test_programs.py' is not a readable video."),
        ("/edit_video", {"masks": handle_file(__file__)}, "masks: "),
        ("/track", {"regions": []}, "regions: "),
        ("/segment", {}, "clicks: No clicks and no box given."),
        ("/segment", {"box": [9, 9, 3, 3]}, "box: Expected left, top, right and bottom"),
        ("/segment", {"clicks": [LEFT], "finder": "nobody"}, "finder: 'nobody' was not found."),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(client, clip, endpoint, asked, said):
    file = "image" if endpoint == "/segment" else "video"
    with pytest.raises(AppError) as error:
        client.predict(**{file: handle_file(clip)} | asked, api_name=endpoint)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in INSTEAD if name.startswith("/")])
def test_an_endpoint_that_left_says_what_to_use_instead(client, name):
    with pytest.raises(AppError) as error:
        client.predict("01_two_animals", api_name=name)
    assert str(error.value) == instead(name)


def test_one_declaration_documents_an_endpoint(server):
    info = json.loads(server.get("/gradio_api/info")[1])
    assert [*info["named_endpoints"]] == [f"/{name}" for name in ENDPOINTS]
    assert info["unnamed_endpoints"] == {}
    fields = {
        one["parameter_name"]: one
        for one in info["named_endpoints"]["/edit_video"]["parameters"]
    }
    region = fields["regions"]["type"]["items"]["properties"]
    assert (
        region["prompt"]["description"]
        == "What it should become; empty keeps the source."
    )
    assert (region["strength"]["minimum"], region["strength"]["maximum"]) == (0, 1)
    assert region["clicks"]["items"]["required"] == ["x", "y"]
    assert "videograin" in fields["method"]["type"]["enum"]
    assert [
        name for name, one in fields.items() if not one["parameter_has_default"]
    ] == ["video"]
    tools = {
        tool["name"]: tool
        for tool in json.loads(server.get("/gradio_api/mcp/schema")[1])
    }
    told = tools["edit_video"]["inputSchema"]["properties"]
    assert told["regions"]["items"]["properties"].keys() == region.keys()
    assert told["video"]["type"] == "string"
    for tool in tools.values():
        assert tool["description"]
        assert all(
            one["description"] for one in tool["inputSchema"]["properties"].values()
        )


def test_programs_on_the_page_about_the_api_run_as_listed(
    server, client, clip, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "clip.mp4")
    Image.fromarray(VideoClip(clip).read(0, 1)[0]).save("picture.png")
    info = json.loads(server.get("/gradio_api/info")[1])["named_endpoints"]
    said = []
    for told in info.values():
        listed = told["code_snippets"]["python"]
        exec(
            re.sub("client = .*", "", listed), {"client": client, "print": said.append}
        )
    assert len(said) == len(ENDPOINTS)
    assert said[0][1]["prompt_used"] == "a dog"


def test_tools_of_mcp(server, clip):
    picture = server.folder / "frame.png"
    Image.fromarray(VideoClip(clip).read(0, 1)[0]).save(picture)
    url = "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()

    async def talk(session):
        tools = [tool.name for tool in (await session.list_tools()).tools]
        mask = await session.call_tool("segment", {"image": url, "clicks": [LEFT]})
        outside = {"image": url, "clicks": [{"x": 999, "y": 0}]}
        return tools, mask, await session.call_tool("segment", outside)

    tools, mask, refused = mcp(server, talk)
    assert set(tools) == {*ENDPOINTS}
    shown, address, found = mask.content
    assert not mask.isError
    assert (shown.type, shown.mimeType) == ("image", "image/png")
    assert server.url in address.text
    assert 0 < json.loads(found.text)["share"] < 1
    assert refused.isError
    assert (
        refused.content[0].text
        == "clicks.0: (999, 0) is outside the frame of 256x256. Move it."
    )


def test_masks_of_programs_wait_for_no_run(server, client, clip):
    with server.hold("editing", 3):
        run = client.submit(handle_file(clip), CLICKED, api_name="/edit_video")
        wait(lambda: server.steps()[-1:] == ["editing 3"], "the run is held")
        assert (
            client.predict(handle_file(clip), [LEFT], api_name="/segment")[1]["share"]
            > 0
        )
        assert not run.done()
    run.result()


def test_a_program_that_leaves_ends_its_run(server, clip):
    client = Client(server.url, verbose=False)
    with server.hold("editing", 5), server.closes():
        client.submit(handle_file(clip), CLICKED, api_name="/edit_video")
        wait(lambda: server.steps()[-1:] == ["editing 5"], "the run is held")
        client.close()
    assert server.steps()[-2:] == ["editing 5", "closed"]


def test_the_readme_s_program_runs(server, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    blocks = re.findall(
        r"^```python\n(.*?)^```",
        (ROOT / "README.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    program = next(text for text in blocks if "gradio_client" in text)
    exec(program.replace("http://127.0.0.1:7860", server.url), {})
    printed = capsys.readouterr().out
    assert ".mp4" in printed
    assert "a fox and a panda walk on the grass" in printed

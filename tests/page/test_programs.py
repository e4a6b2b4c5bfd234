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

import numpy as np
import pytest
from browser import ROOT, as_program, wait
from clicked_regions import CLICKED, LEFT, RIGHT, WORDS
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from regrain.editing.media.reading import VideoClip
from regrain.editing.removed import INSTEAD, instead
from regrain.ui.api.program_schema import EditedRegion

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


def test_the_picture_that_is_shared_is_small(server):
    content = server.get("/regrain/share.png")[1]
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
    video, _ = client.predict(
        handle_file(clip), CLICKED, **asked, api_name="/edit_video"
    )
    source = VideoClip(clip)
    edited = VideoClip(Path(video))
    assert (len(edited), edited.size) == (len(source), source.size)
    before, after = (one.read(0, 1)[0].astype(int) for one in (source, edited))
    for x, y in ((70, 120), (180, 150)):
        assert abs(before[y, x] - after[y, x]).max() > 60
    assert abs(before[10, 10] - after[10, 10]).max() < 6
    for kind, name in (("matte", "edited_matte.zip"), ("prores", "edited.mov")):
        file, _ = client.predict(
            handle_file(clip), CLICKED, **asked, format=kind, api_name="/edit_video"
        )
        assert Path(file).name == name


def test_tracked_masks_go_into_an_edit(client, clip):
    regions = [{"name": "cat", "clicks": [LEFT]}, {"label": 5, "clicks": [RIGHT]}]
    masks, _ = client.predict(handle_file(clip), regions, api_name="/track")
    with zipfile.ZipFile(masks) as archive:
        assert archive.comment == b"Made with Regrain"
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


@pytest.mark.parametrize("name", [name for name in INSTEAD if name.startswith("/")])
def test_an_endpoint_that_left_says_what_to_use_instead(client, name):
    with pytest.raises(AppError) as error:
        client.predict("01_two_animals", api_name=name)
    assert str(error.value) == instead(name)


def test_one_declaration_documents_an_endpoint_and_a_tool(server):
    """The walk of `tests/ui/page` has what an endpoint is told."""
    tools = json.loads(server.get("/gradio_api/mcp/schema")[1])
    assert {tool["name"] for tool in tools} == {*ENDPOINTS}
    for tool in tools:
        assert tool["description"]
        told = tool["inputSchema"]["properties"]
        assert all(one["description"] for one in told.values())
        if tool["name"] == "edit_video":
            region = told["regions"]["items"]["properties"]
            assert region.keys() == EditedRegion.model_fields.keys()
            assert told["video"]["type"] == "string"


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

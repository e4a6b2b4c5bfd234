"""One's own clips and projects: what is taken, what is left out, what is refused."""

import io
import itertools
import shutil
import zipfile
from fractions import Fraction
from functools import partial
from shutil import make_archive

import numpy as np
import pytest
from made_clips import heard, moving, off, write_clip
from PIL import Image, features

from regrain.editing import (
    ArrayClip,
    ClipError,
    EditingError,
    EditRequest,
    MaskError,
    Region,
    RequestError,
)
from regrain.editing.media import reading
from regrain.editing.media.clip import ColorTags
from regrain.editing.media.images import FRAME_SUFFIXES
from regrain.editing.media.index import decode
from regrain.editing.media.reading import VideoClip
from regrain.editing.media.writing import write_video
from regrain.masks.draw import unpack
from regrain.masks.track.propagate import propagate
from regrain.ui.session import clips
from regrain.ui.session.clip_files import pack_project, uploaded
from regrain.ui.session.clips import (
    MAX_SIDE,
    USUAL_FRAMES,
    open_upload,
    prepare,
)
from regrain.ui.session.mask_files import read_tracks


def frames(count, height=32, width=48):
    levels = np.arange(40, 40 + count, dtype=np.uint8)
    return np.tile(levels[:, None, None, None], (height, width, 3))


@pytest.fixture
def upload(tmp_path):
    """Opens a file, or a part of its frames, as the page does."""
    numbers = itertools.count()

    def opened(name="a.mp4", *part):
        return open_upload(tmp_path / name, tmp_path / f"out{next(numbers)}", *part)

    return opened


@pytest.fixture
def clip(tmp_path):
    """Writes a clip of such frames."""
    return lambda *size, fps=8: write_video(
        tmp_path / "a.mp4", frames(*size), Fraction(fps)
    )


def test_a_short_clip_is_taken_whole_and_its_frames_are_kept(upload, clip):
    clip(10)
    opened, note = upload()
    assert (len(opened.frames), note, opened.own) == (10, "", True)
    asked = opened.request
    assert (asked.method, asked.loras) == ("instruct_pix2pix", ("storybook/fast",))
    assert len(list(opened.folder.glob("0*.jpg"))) == 10
    assert (off(opened.frames[7], 47) <= 2).all()
    whole = opened.request.clip.read(0, 10)  # in any order
    assert (opened.clip.read(6, 10) == whole[6:]).all()
    assert (opened.clip.read(0, 2) == whole[:2]).all()
    assert (opened.frames[4] == whole[4]).all()
    opened.ensure_source()
    assert opened.source.stat().st_size > 500
    with Image.open(opened.strip) as strip:
        assert strip.size == (12 * 96, 72)


@pytest.mark.parametrize(("group", "decoded"), [(5, 12), (96, 89)])
def test_a_strip_shows_key_frames_where_there_are_enough(
    tmp_path, monkeypatch, group, decoded
):
    """Others take all that is decoded before them."""
    file = write_clip(tmp_path / "a.mp4", moving(96), g=str(group), bf="0")
    whole = VideoClip(file)
    seen = []

    def counted(*given):
        for frame in decode(*given):
            seen.append(frame.pts)
            yield frame

    monkeypatch.setattr(reading, "decode", counted)
    with Image.open(clips._write_strip(whole, tmp_path / "strip.jpg")) as strip:
        pictures = np.split(np.asarray(strip), 12, axis=1)
    assert len(seen) == decoded
    assert len({picture.tobytes() for picture in pictures}) == 12


def test_the_shown_video_has_the_times_of_the_clip(tmp_path):
    times = (Fraction(0), Fraction(1, 2), Fraction(2))
    clip = ArrayClip(frames(3), times=times)
    opened = prepare("", "a", EditRequest(clip, None, ()), tmp_path / "a")
    opened.ensure_source()
    assert VideoClip(opened.source).times == times


def test_a_long_clip_is_thinned_a_part_can_be_chosen_and_what_is_too_much_is_said(
    monkeypatch, upload, clip
):
    clip(120, fps=24)
    opened, note = upload()
    assert (len(opened.frames), opened.request.clip.fps, opened.total) == (
        USUAL_FRAMES,
        8,
        120,
    )
    assert note == "Using frames 1, 4, ... 94 of 120. Choose others in “…”, Frames."
    whole, note = upload("a.mp4", 0, 1, 120)
    assert (len(whole.frames), note) == (120, "")
    part, note = upload("a.mp4", 100, 2, 32)
    assert (len(part.frames), note) == (10, "")
    with pytest.raises(EditingError):
        upload("a.mp4", 120, 1, 5)
    monkeypatch.setattr(clips, "MAX_FRAMES", 40)
    most, note = upload("a.mp4", 0, 1, 50)
    assert (len(most.frames), note) == (
        40,
        "The page takes at most 40 frames. It uses the first of these.",
    )
    monkeypatch.setattr(clips, "MAX_STORED", 10 * 3 * 32 * 48)
    with pytest.raises(
        ClipError,
        match="12 frames of 48x32 .* Choose at most 10, or use the command line",
    ):
        upload("a.mp4", 0, 1, 12)


def test_a_large_clip_is_scaled_and_remembers_which_part_of_the_file_it_is(
    tmp_path, upload
):
    tags = ColorTags(9, 1, 9, 16)
    write_clip(tmp_path / "a.mp4", frames(6, 404, 1600), tone_at=0, tags=tags)
    opened, note = upload("a.mp4", 1, 2, 2)
    assert opened.request.clip.size == (MAX_SIDE, 324), "even sides"
    assert np.abs(heard(opened.request.clip.path)[1]).max() > 0.3
    assert "scaled" in note
    assert "Note: 'a.mp4' is HDR" in note
    assert (opened.start, opened.stride, opened.total, len(opened.frames)) == (
        1,
        2,
        6,
        2,
    )


OF_FRAMES = '{"version": 1, "clip": {"path": "clip"}, "prompt": "a cat"}'
OTHERS = {
    "a.mts": ("mts", "libx264"),
    "a.m2ts": ("m2ts", "mpeg2video"),
    "a.wmv": ("asf", "wmv2"),
    "a.3gp": ("3gp", "mpeg4"),
    "a.flv": ("flv", "flv"),
    "a.mxf": ("mxf", "mpeg2video"),
    "a.avif": ("avif", "libsvtav1"),
    "clip": ("mp4", "libx264"),
    "a.jpg": ("mov", "libx264"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_a_video_is_seen_in_its_content(name, tmp_path, upload):
    ending, codec = OTHERS[name]
    shown = moving(6)
    written_as = write_clip(tmp_path / f"x.{ending}", shown, codec=codec)
    written_as.rename(tmp_path / name)
    opened, _ = upload(name)
    assert (len(opened.frames), opened.title) == (6, name)
    assert off(opened.frames[3], shown[3]).mean() < 20


def test_an_interlaced_upload_is_made_of_whole_frames(tmp_path, upload):
    from regrain.editing.media.reading import open_clip

    path = write_clip(tmp_path / "a.mp4", moving(6), x264_params="tff=1")
    opened, note = upload(path)
    assert "The clip is interlaced; its fields were made whole frames." in note
    want = open_clip(path, deinterlace=True).read(0, 6)
    assert (opened.frames.read(0, 6) == want).all()
    folder = pack_project(opened.request, None, tmp_path).with_suffix(".zip")
    again, note = upload(folder)
    assert (again.frames.read(0, 6) == want).all()


def test_an_archive_of_a_large_clip_is_refused_before_its_masks_are_read(
    tmp_path, monkeypatch, upload
):
    request = EditRequest(
        ArrayClip(frames(33)), np.ones((33, 32, 48), np.uint8), (Region("all", 1),)
    )
    archive = pack_project(request, None, tmp_path)
    monkeypatch.setattr(clips, "MAX_FRAMES", 32)
    reader = "regrain.editing.request.project.read_labels"
    monkeypatch.setattr(reader, lambda *_: pytest.fail("the masks were read"))
    with pytest.raises(EditingError, match="33 frames are too many"):
        upload(archive)


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "..\\x.png", "a/../../x.png"])
def test_nothing_is_unpacked_elsewhere(name, tmp_path, upload):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("project.json", OF_FRAMES)
        archive.writestr(name, b"x")
    with pytest.raises(RequestError, match="^project: .* points outside the archive"):
        upload("p.zip")


@pytest.mark.parametrize("inside", ["", "folder"])
def test_a_packed_project_comes_back_and_says_where_it_comes_from(
    tmp_path, inside, upload
):
    labels = np.ones((3, 32, 48), np.uint8)
    labels[:, :, 20:] = 0
    regions = (Region("left", 1, "a fox", "a cat"),)
    archive = pack_project(
        EditRequest(ArrayClip(frames(3)), labels, regions, "a cat"), None, tmp_path
    )
    with (
        zipfile.ZipFile(archive) as packed,
        zipfile.ZipFile(tmp_path / "p.zip", "w") as again,
    ):
        assert packed.comment == b"Made with Regrain"
        for name in packed.namelist():
            again.writestr(f"{inside}/{name}".lstrip("/"), packed.read(name))
    opened, _ = upload("p.zip")
    assert (opened.request.labels == labels).all()
    assert opened.request.regions[0].prompt == "a fox"


def test_a_project_without_its_folder_is_to_be_packed_and_then_opens(tmp_path, upload):
    archive = pack_project(EditRequest(ArrayClip(frames(3)), None, ()), None, tmp_path)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "mine")
    with pytest.raises(
        RequestError, match="^project: .* Pack its whole folder as a zip"
    ):
        upload("mine/project.json")
    make_archive(str(tmp_path / "p"), "zip", tmp_path, "mine")
    opened, _ = upload("p.zip")
    assert len(opened.frames) == 3


@pytest.mark.parametrize("ending", FRAME_SUFFIXES)
def test_a_packed_project_may_hold_frames_of_every_kind_that_folders_may(
    tmp_path, ending, upload
):
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    kind = {".jfif": "JPEG"}.get(ending)
    mode = "L" if ending == ".pgm" else "RGB"
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for number, frame in enumerate(frames(2)):
            file = io.BytesIO()
            file.name = f"clip/{number}{ending}"  # Pillow goes by its ending
            Image.fromarray(frame).convert(mode).save(file, kind)
            archive.writestr(file.name, file.getvalue())
        archive.writestr("project.json", OF_FRAMES)
    opened, _ = upload("p.zip")
    assert opened.frames.shape == (2, 32, 48, 3)


@pytest.mark.parametrize("name", ["clip/0.heic", "clip"])
def test_a_packed_project_names_frames_of_a_kind_that_is_not_read(
    tmp_path, name, upload
):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr(name, b"x")
        archive.writestr("project.json", OF_FRAMES)
    with pytest.raises(
        RequestError, match=f"^project: '{name}' is of a kind that is not"
    ):
        upload("p.zip")


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04" + bytes(60)])
def test_a_damaged_zip_of_masks_or_of_a_project_is_refused(tmp_path, upload, content):
    (tmp_path / "masks.zip").write_bytes(content)
    with pytest.raises(
        MaskError, match=r"^masks: 'masks\.zip' is damaged or not a zip file"
    ):
        read_tracks([tmp_path / "masks.zip"], tmp_path, range(1), 1, (48, 32), {})
    with pytest.raises(
        RequestError, match=r"^project: 'masks\.zip' is damaged or not a zip file"
    ):
        upload("masks.zip")


def written(folder, count, picture):
    folder.mkdir(parents=True)
    for index in range(count):
        picture(index).save(folder / f"{index:05d}.png")
    return folder


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_masks_as_other_tools_write_them_are_taken(tmp_path, mode):
    """Edges, black and white in colours, DAVIS's folders, and a picture for every frame
    of the file."""
    level = np.repeat([0, 90, 190, 255], [15, 1, 1, 31]).astype(np.uint8)

    def picture(index):
        return Image.fromarray(np.tile(np.roll(level, index), (32, 1))).convert(mode)

    folder = written(tmp_path / "in" / "Annotations" / "480p" / "car", 12, picture)
    archive = shutil.make_archive(str(tmp_path / "davis"), "zip", tmp_path / "in")
    for files in ([archive], sorted(folder.iterdir())):
        (out := tmp_path / f"out{len(files)}").mkdir()
        tracks, _ = read_tracks(files, out, range(1, 11, 2), 12, (48, 32), {})
        (track,) = tracks.values()
        assert sorted(track) == [0, 1, 2, 3, 4]
        for frame, index in enumerate(range(1, 11, 2)):
            wanted = np.roll(level >= 128, index)
            assert (unpack(track[frame], (48, 32)) == wanted).all()


def test_masks_of_the_files_own_size_are_scaled_with_the_clip(tmp_path, upload, clip):
    clip(2, 400, 1600)
    opened, _ = upload()
    assert (opened.file_size, opened.request.clip.size) == ((1600, 400), (1280, 320))
    inside = np.zeros((400, 1600), np.uint8)
    inside[100:200, 400:800] = 255
    pictures = written(tmp_path / "in", 2, lambda _: Image.fromarray(inside))
    given = (tmp_path, opened.used, opened.total, (1280, 320), {}, opened.file_size)
    tracks, _ = read_tracks(sorted(pictures.iterdir()), *given)
    mask = unpack(tracks[1][1], (1280, 320))
    assert mask[80:160, 320:640].all()
    assert mask.sum() == 80 * 320


def test_what_a_finder_packs_beside_masks_is_passed_over(tmp_path):
    picture = lambda _: Image.fromarray(np.eye(32, dtype=bool))  # noqa: E731
    written(tmp_path / "in" / "masks", 2, picture)
    written(tmp_path / "in" / "__MACOSX" / "masks", 2, picture)
    written(tmp_path / "in" / "masks" / ".ipynb_checkpoints", 1, picture)
    (tmp_path / "in" / "masks" / "._00000.png").write_bytes(b"\0\5\26\7")
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "in")
    tracks, _ = read_tracks([archive], tmp_path, range(2), 2, (32, 32), {})
    assert [sorted(track) for track in tracks.values()] == [[0, 1]]


def test_a_clip_too_small_for_optical_flow_is_refused_when_it_is_opened(tmp_path):
    for height, width in ((12, 12), (11, 40), (40, 11)):
        request = EditRequest(ArrayClip(frames(2, height, width)), None, ())
        if min(height, width) == 12:
            opened = prepare("", "small", request, tmp_path / "small")
            assert (
                len(list(propagate(opened.clip, {0: np.ones((12, 12), np.uint8)}))) == 2
            )
        else:
            with pytest.raises(
                ClipError, match=f"{width}x{height}, but need 12 per side. Scale"
            ):
                prepare("", "small", request, tmp_path / "small")


@pytest.mark.parametrize(
    "said", [{"path": "/etc/passwd"}, {"path": "../x"}, {"path": 3}, {}, None, ["x"]]
)
def test_only_what_was_uploaded_is_opened(said):
    with pytest.raises(ClipError, match="did not arrive"):
        uploaded(said)


def test_back_slashes_in_a_zip_are_folders(tmp_path):
    """As programs on Windows pack it."""
    picture = Image.new("L", (48, 32), 255)
    folder = written(tmp_path / "masks", 2, lambda index: picture)
    for name, inside in (
        ("good", "car\\1\\{}"),
        ("bad", "..\\{}"),
        ("drive", "C:\\{}"),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for file in sorted(folder.iterdir()):
                info = zipfile.ZipInfo()
                info.filename = inside.format(file.name)
                archive.writestr(info, file.read_bytes())
    read = partial(read_tracks, used=range(2), total=2, size=(48, 32), colors={})
    tracks, _ = read([tmp_path / "good.zip"], tmp_path / "good")
    assert [*tracks[1]] == [0, 1]
    for name in ("bad", "drive"):
        with pytest.raises(MaskError, match="points outside the archive"):
            read([tmp_path / f"{name}.zip"], tmp_path / name)

"""Clips of cameras, phones and other programs: single fields, interlaced frames, cover
pictures, animated AVIF."""

import os
import struct
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import av
import av.filter
import numpy as np
import pytest
from av.stream import Disposition
from made_clips import RATE, add_box, moving, samples, write_clip

from regrain.editing.errors import ClipError
from regrain.editing.media.clip import ColorTags
from regrain.editing.media.index import _notes, read_index
from regrain.editing.media.reading import EXACT, open_clip


def dolby(profile, compatible):
    """A damage: an HEVC that says that it is Dolby Vision."""

    def write(path):
        video = {
            "codec": "libx265",
            "pixels": "yuv420p10le",
            "x265_params": "log-level=none",
        }
        write_clip(path.with_suffix(".mp4"), moving(3), **video)
        record = bytes([1, 0, profile << 1, 0b101, compatible << 4]) + bytes(19)
        add_box(path.with_suffix(".mp4"), b"hev1", b"dvcC", record)
        return path.with_suffix(".mp4")

    return write


def aperture(path):
    path = write_clip(path.with_suffix(".mp4"), moving(3))
    add_box(path, b"avc1", b"clap", struct.pack(">8I", 48, 1, 40, 1, 0, 1, 0, 1))
    return path


def cropped(path):
    """An unit of display becomes what is cropped on the left."""
    path = write_clip(path.with_suffix(".mkv"), moving(3))
    unit, crop = bytes.fromhex("54b28104 54cc8106".replace(" ", "")), 4
    path.write_bytes(path.read_bytes().replace(unit[:crop], unit[crop:]))
    return path


def unread_sound(kind, replaced=b"ac-3", end=".mp4"):
    """A damage: sound of a kind that nobody decodes."""

    def write(path):
        sound = "ac3", samples(np.zeros((1, 4096), np.float32), "fltp", "mono")
        path = write_clip(path.with_suffix(end), moving(3), sound=sound)
        path.write_bytes(path.read_bytes().replace(replaced, kind))
        return path

    return write


def rare(path):
    """Colours of a matrix that FFmpeg does not convert: YCgCo."""
    options = {"x264_params": "colormatrix=YCgCo:log-level=none"}
    return write_clip(path.with_suffix(".mp4"), moving(3), **options)


NO_SOUND = "has sound that cannot be read; the edit has none"
SAID = {
    "a rare matrix": (rare, "has colours in a rare form; they may be a little off."),
    "Dolby Vision 5": (dolby(5, 0), "is Dolby Vision 5, whose colours are no YCbCr"),
    "Dolby Vision 10": (dolby(10, 0), "is Dolby Vision 10, whose colours are no YCbCr"),
    "Dolby Vision on HDR10": (dolby(8, 1), ""),
    "an aperture": (aperture, "its edges in players (left 8, right 8, top 4, bottom 4"),
    "a crop": (cropped, "its edges in players (left 6, right 0, top 0, bottom 0"),
    "sound of APAC": (unread_sound(b"apac"), NO_SOUND),
    "sound of AC-4": (unread_sound(b"ac-4"), NO_SOUND),
    "sound of no known kind": (unread_sound(b"A_ZZZ", b"A_AC3", ".mkv"), NO_SOUND),
}


def more_tracks(path, sounds, subtitles):
    """A video of a tone, so many times over, and of lines of text."""
    plain = write_clip(path.with_name("plain.mkv"), moving(3), tone_at=0.0)
    text = path.with_name("plain.srt")
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n\n")
    counts = {"video": 1, "audio": sounds, "subtitle": subtitles}
    with (
        av.open(str(plain)) as one,
        av.open(str(text)) as two,
        av.open(path, "w") as out,
    ):
        copies = {}
        for stream in (*one.streams, *two.streams):
            kind = stream.type
            new = [out.add_stream_from_template] * counts[kind]
            copies[kind] = [add(stream) for add in new]
        for packet in chain(one.demux(), two.demux()):
            for copy in copies[packet.stream.type] if packet.size else ():
                again = av.Packet(bytes(packet))
                again.pts, again.dts = packet.pts, packet.dts
                again.duration, again.time_base = packet.duration, packet.time_base
                again.is_keyframe, again.stream = packet.is_keyframe, copy
                out.mux(again)
    return path


@pytest.mark.parametrize(
    ("name", "tracks", "said"),
    [
        ("a.mkv", (1, 0), ""),
        (
            "a.mkv",
            (2, 0),
            "has 2 sound tracks; the edit has the first that can be read.",
        ),
        (
            "a.mp4",
            (3, 0),
            "has 3 sound tracks; the edit has the first that can be read.",
        ),
        ("a.mkv", (1, 1), "has subtitles; the edit has none."),
    ],
)
def test_tracks_that_an_edit_does_not_keep_are_said(tmp_path, name, tracks, said):
    clip = open_clip(more_tracks(tmp_path / name, *tracks))
    assert [warning[len(repr(name)) + 1 :] for warning in clip.warnings] == (
        [said] if said else []
    )
    assert clip.audio


@pytest.mark.parametrize("kind", SAID)
def test_what_a_file_says_and_nothing_does_is_said(tmp_path, kind):
    write, said = SAID[kind]
    path = write(tmp_path / "a")
    level = av.logging.get_level()
    clip = open_clip(path)
    assert [said in warning for warning in clip.warnings] == [True] * bool(said)
    assert clip.audio is None
    assert clip.read(1, 2).shape[0] == 1
    assert av.logging.get_level() == level


def test_sound_that_is_read_is_enough():
    sounds = [SimpleNamespace(codec_context=one) for one in (None, "aac")]
    streams = SimpleNamespace(audio=sounds, subtitles=())
    (said,) = _notes(SimpleNamespace(streams=streams, dumps_format=str))
    assert "the edit has the first that can be read" in said


def decoded(path, stream=0):
    """What FFmpeg decodes: times in seconds, and RGB frames."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.video[stream]))
        times = [frame.pts * frame.time_base for frame in frames]
        return times, np.stack([shown(frame) for frame in frames])


def shown(frame):
    return frame.reformat(format="rgb24", interpolation=EXACT, threads=1).to_ndarray()


FIELDS = Path(__file__).with_name("fields.m2ts")
"""H.264 of 12 frames, 16 x 32 pixels, 25 a second. Pictures are single fields (PAFF),
but for the frames 5 and 6, as cameras write it and no encoder at hand does:
macroblocks of plain samples."""


def test_two_fields_are_one_frame():
    times, frames = decoded(FIELDS)
    clip = open_clip(FIELDS)
    assert len(clip) == len(frames) == 12
    assert (clip.fps, clip.times, clip.duration) == (25, None, Fraction(12, 25))
    assert [time - times[0] for time in times] == [Fraction(n, 25) for n in range(12)]
    assert (clip.read(0, 12) == frames).all()
    assert any("is interlaced" in warning for warning in clip.warnings)
    again = open_clip(FIELDS, start=3, stride=2)
    for number in (3, 0, 2):
        assert (again.read(number, number + 1)[0] == frames[3 + 2 * number]).all()
    index, _ = read_index(FIELDS)
    assert len(index.keys) >= 3
    assert set(index.keys) <= set(index.pts)  # no second field is one


def woven(tmp_path):
    """Interlaced frames by x264 (MBAFF): the rows of each are of two moments."""
    fields = moving(24, 64, 64)
    pictures = fields[::2].copy()
    pictures[:, 1::2] = fields[1::2][:, 1::2]
    path = tmp_path / "woven.mkv"
    return write_clip(path, pictures, x264_params="tff=1:keyint=4", crf="4")


def deinterlaced(path, options):
    """What FFmpeg's own bwdif makes of a file, from the first frame on."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        source = graph.add_buffer(template=stream)
        sink = graph.add("buffersink")
        graph.link_nodes(source, graph.add("bwdif", options), sink).configure()
        made = []
        for frame in [*container.decode(stream), None]:
            source.push(frame)
            while True:
                try:
                    made.append(shown(sink.pull()))
                except (av.BlockingIOError, av.EOFError):
                    break
    return np.stack(made)


def test_interlaced_frames_are_said_and_deinterlaced_on_demand_in_any_order(tmp_path):
    path = woven(tmp_path)
    clip = open_clip(path)
    assert clip.is_interlaced
    assert [w for w in clip.warnings if "woven.mkv' is interlaced" in w]
    whole = open_clip(path, deinterlace=True)
    assert (whole.warnings, whole.deinterlace) == ([], True)
    for name in ("fps", "times", "duration"):
        assert getattr(whole, name) == getattr(clip, name)
    want = deinterlaced(path, "mode=send_frame")
    assert len(whole) == len(want) == 12
    assert (want != clip.read(0, 12)).any((1, 2, 3)).all()
    assert (whole.read(0, 12) == want).all()
    again = open_clip(path, deinterlace=True)
    for number in (8, 3, 4, 11, 0, 1, 7, 5):
        assert (again.read(number, number + 1)[0] == want[number]).all(), number


@pytest.mark.parametrize("tags", [ColorTags(), ColorTags(6, 2, 6, 6)])
def test_colours_and_rotation_stay_when_frames_are_deinterlaced(tags, tmp_path):
    still = np.repeat(moving(1, 64, 48), 6, axis=0)
    how = {"tags": tags, "rotation": 90, "x264_params": "tff=1", "crf": "4"}
    path = write_clip(tmp_path / "a.mp4", still, **how)
    clip, whole = open_clip(path), open_clip(path, deinterlace=True)
    assert whole.size == clip.size == (48, 64)
    assert (whole.tags, whole.is_interlaced) == (tags, True)
    apart = whole.read(0, 6).astype(int) - clip.read(0, 6)
    assert np.abs(apart.mean()) < 0.5
    assert np.abs(apart).mean() < 8


def test_frames_among_fields_stay_and_unmarked_ones_are_deinterlaced_with_a_word(
    tmp_path,
):
    clip = open_clip(FIELDS, deinterlace=True)
    same = (clip.read(0, 12) == open_clip(FIELDS).read(0, 12)).all(axis=(1, 2, 3))
    assert same.tolist() == [False] * 5 + [True] * 2 + [False] * 5
    plain = write_clip(tmp_path / "plain.mp4", moving(4, 64, 64))
    assert not open_clip(plain).is_interlaced
    told = open_clip(plain, deinterlace=True)
    assert "does not say that it is interlaced" in told.warnings[0]
    assert (told.read(0, 4) == deinterlaced(plain, "deint=all:mode=0")).all()
    with pytest.raises(ClipError, match="clip.deinterlace: Images are not"):
        open_clip(tmp_path, deinterlace=True)


def with_cover(path, *, cover=True, video=True):
    """A file whose first stream is a large picture, with a video or with sound."""
    with av.open(str(path), "w") as out:
        if cover:
            picture = out.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 320, 240, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        if video:
            stream = out.add_stream("libx264", rate=8)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            frames = [av.VideoFrame.from_ndarray(one) for one in moving(5, 64, 64)]
        else:
            stream = out.add_stream("aac", rate=RATE, layout="mono")
            frames = [samples(np.zeros((1, RATE), np.float32), "fltp", "mono")]
        if cover:
            grey = np.full((240, 320, 3), 99, np.uint8)
            image = av.VideoFrame.from_ndarray(grey)
            image.pts = 0
            out.mux([*picture.encode(image), *picture.encode(None)])
        for frame in (*frames, None):
            out.mux(stream.encode(frame))
    return path


@pytest.mark.parametrize("ending", ["mkv", "mp4", "asf", "mov"])
def test_a_cover_picture_is_not_the_clip(ending, tmp_path):
    clip = open_clip(with_cover(tmp_path / f"a.{ending}"))
    assert (clip.size, len(clip), clip.fps) == ((64, 64), 5, 8)
    assert clip.read(4, 5).shape == (1, 64, 64, 3)


@pytest.mark.parametrize(
    ("cover", "said"),
    [(True, "has no readable video stream"), (False, "holds sound only")],
)
def test_music_is_no_clip(cover, said, tmp_path):
    path = with_cover(tmp_path / "a.mp4", cover=cover, video=False)
    with pytest.raises(ClipError, match=said):
        open_clip(path)


def test_animated_avif_has_all_its_frames(tmp_path):
    path = write_clip(
        tmp_path / "a.avif", moving(5, 64, 64), codec="libsvtav1", fps=5, crf="20"
    )
    times, frames = decoded(path, stream=1)
    clip = open_clip(path)
    assert (len(clip), clip.fps) == (5, 5)
    assert (clip.read(0, 5) == frames).all()
    if hasattr(os, "sched_getscheduler"):  # writing it takes no more of the machine
        assert os.sched_getscheduler(0) == os.SCHED_OTHER

"""Recordings that were put after each other in one file, each with a clock of its
own."""

from fractions import Fraction

import av
import numpy as np
import pytest
from made_clips import RATE, flat, levels_of, samples, write_clip

from regrain.editing import open_clip
from regrain.editing.media.sound import open_sound

LEVELS = [20, 40, 60, 80, 100, 120]
TURN = 2**33 / 90_000  # seconds
CODECS = {"ts": ("libx264", "aac"), "vob": ("mpeg2video", "mp2")}
JOINED = "holds recordings with clocks of their own"


def write_recording(path, levels, start=0.0, loud=0.0, stamps=None, skipped=0):
    """Write a recording whose clock begins at a time, and whose sound is as loud all
    along; some of its first packets are left out."""
    frames = flat(levels, 64, 48)
    plain = path.with_suffix(".mkv")
    picture, sound = CODECS.get(path.suffix[1:], CODECS["ts"])
    count = round(len(levels) / 25 * RATE)
    if stamps:
        count = round((stamps[-1] + 40) / 1000 * RATE)
    tone = loud * np.sin(np.arange(count) * 2 * np.pi * 1000 / RATE)
    if sound == "mp2":
        shorts = (tone.repeat(2)[None] * 32_000).astype(np.int16)
        waves = samples(shorts, "s16", "stereo")
    else:
        waves = samples(np.stack([tone, tone]).astype(np.float32), "fltp", "stereo")
    added = (sound, waves) if loud else None
    write_clip(plain, frames, codec=picture, sound=added, stamps=stamps, bf="2")
    options = {"mpegts_copyts": "1"} if path.suffix == ".ts" else {}
    with av.open(str(plain)) as old, av.open(str(path), "w", options=options) as new:
        streams = [new.add_stream_from_template(stream) for stream in old.streams]
        for number, packet in enumerate(old.demux()):
            if not packet.size or number < skipped:
                continue
            moved = round(start / packet.time_base)
            packet.pts += moved
            if packet.dts is not None:
                packet.dts += moved
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return path


def join(path, *parts):
    """Put files after each other, byte by byte."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return open_clip(path)


def loudness(values, parts):
    """How loud each part of a sound is in its middle, as a share of the loudest sine."""
    whole = np.array_split(values, parts)
    return [float(part[200:-200].std() * np.sqrt(2)) for part in whole]


@pytest.mark.parametrize(
    ("suffix", "first", "second"),
    [
        ("ts", 1, 1),
        ("vob", 1, 1),
        ("mkv", 0, 0),
        ("ts", 1000, 1),
        ("vob", 1000, 1),
        ("ts", 1, 15),
        ("ts", 1, 3600),
        ("ts", 1, 86_400),
        ("mkv", 1, 300_000),
        ("ts", 5, 5.1),
        ("ts", 5, 5.2),
        ("ts", TURN - 0.12, TURN - 0.12),
        ("ts", 1, TURN - 0.12),
        ("ts", TURN - 0.12, 90),
        ("ts", TURN - 0.24, 40_000),
    ],
)
def test_joined_recordings_follow_each_other_with_their_sound(
    tmp_path, suffix, first, second
):
    parts = [
        write_recording(tmp_path / f"a.{suffix}", LEVELS, first, 0.2),
        write_recording(tmp_path / f"b.{suffix}", LEVELS[::-1], second, 0.8),
    ]
    clip = join(tmp_path / f"c.{suffix}", *parts)
    assert (clip.fps, clip.times, clip.duration) == (25, None, Fraction(12, 25))
    assert any(JOINED in warning for warning in clip.warnings)
    # backwards
    order = [levels_of(clip.read(at, at + 1))[0] for at in reversed(range(12))]
    assert order == [1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1]
    # a part that begins in the first recording
    part = open_clip(clip.path, start=4, frames=6)
    assert levels_of(part.read(0, 6)) == [5, 6, 6, 5, 4, 3]
    for one, joint in ((clip, 6), (part, 2)):
        with open_sound(one.audio) as sound:
            values = sound.read(round(one.duration * sound.rate))[0]
        assert len(values) == one.duration * RATE
        found = loudness(values, len(one))
        # beside them are the onset and the end of the encoder
        assert found[1 : joint - 1] == pytest.approx([0.2] * (joint - 2), abs=0.06)
        last = len(one) - 1
        assert found[joint + 1 : last] == pytest.approx(
            [0.8] * (last - joint - 1), abs=0.06
        )


def test_each_recording_keeps_the_gaps_between_its_frames(tmp_path):
    stamps = [0, 40, 80, 240, 280, 320]
    parts = [
        write_recording(tmp_path / "a.ts", LEVELS, 2, 0.2, stamps),
        write_recording(tmp_path / "b.ts", LEVELS, 1, 0.8, stamps),
    ]
    clip = join(tmp_path / "c.ts", *parts)
    times = [*stamps, *(stamp + 360 for stamp in stamps)]
    assert [round(time * 1000) for time in clip.times] == times


@pytest.mark.parametrize(
    ("suffix", "count", "read"),
    [("mp4", 2, 1), ("mov", 2, 1), ("flv", 2, 1), ("mkv", 3, 2)],
)
def test_what_is_not_read_of_joined_files_is_said(tmp_path, suffix, count, read):
    part = write_recording(tmp_path / f"a.{suffix}", LEVELS)
    clip = join(tmp_path / f"b.{suffix}", *[part] * count)
    assert len(clip) == read * len(LEVELS)
    assert "holds another file after this one" in clip.warnings[-1]
    assert join(part, part).warnings == []


def test_each_recording_keeps_its_rate(tmp_path):
    rates = {"a.ts": 25, "b.ts": 50}
    parts = [
        write_clip(tmp_path / name, flat(LEVELS, 64, 48), fps=fps)
        for name, fps in rates.items()
    ]
    times = [round(time * 1000) for time in join(tmp_path / "c.ts", *parts).times]
    assert times == [*range(0, 240, 40), *range(240, 360, 20)]


@pytest.mark.parametrize(("first", "second"), [(0.2, 0), (0, 0.8)])
def test_one_of_them_may_have_no_sound(tmp_path, first, second):
    parts = [
        write_recording(tmp_path / "a.ts", LEVELS, 9, first),
        write_recording(tmp_path / "b.ts", LEVELS, 1, second),
    ]
    clip = join(tmp_path / "c.ts", *parts)
    assert (len(clip), clip.fps) == (12, 25)
    with open_sound(clip.audio) as sound:
        values = sound.read(round(clip.duration * sound.rate))[0]
    values = np.pad(values, (0, round(clip.duration * RATE) - len(values)))
    found = loudness(values, 12)
    assert found[1:5] == pytest.approx([first] * 4, abs=0.06)
    assert found[7:11] == pytest.approx([second] * 4, abs=0.06)


def test_a_gap_of_seconds_on_one_clock_stays(tmp_path):
    parts = [
        write_recording(tmp_path / "a.ts", LEVELS, 1),
        write_recording(tmp_path / "b.ts", LEVELS, 6),
    ]
    clip = join(tmp_path / "c.ts", *parts)
    assert clip.times[5:7] == (Fraction(1, 5), 5)
    assert clip.warnings == []


def test_slow_pictures_are_no_joined_recordings(tmp_path):
    stamps = [12_000 * number for number in range(6)]
    clip = open_clip(write_recording(tmp_path / "a.ts", LEVELS, stamps=stamps))
    assert (clip.fps, clip.times, clip.warnings) == (Fraction(1, 12), None, [])


@pytest.mark.parametrize("skipped", [(4, 0), (0, 4)])
def test_a_recording_that_begins_between_key_frames_can_be_joined(tmp_path, skipped):
    clocks = zip("ab", (50, 1), skipped, strict=True)
    parts = [
        write_recording(tmp_path / f"{name}.ts", LEVELS * 3, start, skipped=left)
        for name, start, left in clocks
    ]
    clip = join(tmp_path / "c.ts", *parts)
    assert (clip.fps, clip.times) == (25, None)
    assert set(levels_of(clip.read(0, len(clip)))) == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize(
    ("suffix", "codec", "duration", "fps"),
    [
        ("mkv", "libx264", 0, 25),
        ("mp4", "libx264", 1, 25),
        ("ts", "libx264", 1, 25),
        ("nut", "mpeg4", 1, 25),
        ("asf", "mpeg4", 1, 25),
        # which states none
        ("mkv", "mjpeg", 0, 8),
    ],
)
def test_frames_of_one_time_take_the_stated_rate(
    tmp_path, suffix, codec, duration, fps
):
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"bf": "0"} if codec == "libx264" else {}
    source = tmp_path / "a.mkv"
    write_clip(source, flat(LEVELS, 64, 48), codec=codec, pixels=pixels, **options)
    path = tmp_path / f"b.{suffix}"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux():
            if packet.size:
                packet.pts = packet.dts = 0
                packet.duration *= duration
                packet.stream = stream
                new.mux(packet)
    clip = open_clip(path)
    assert (clip.fps, clip.times, clip.duration) == (fps, None, Fraction(6, fps))
    assert levels_of(clip.read(0, 6)) == [1, 2, 3, 4, 5, 6]


def test_times_that_were_rounded_are_even_beyond_joints(tmp_path):
    fps = Fraction(24000, 1001)
    part = write_clip(tmp_path / "a.ts", flat(LEVELS, 64, 48), fps=fps)
    clip = join(tmp_path / "b.ts", *[part] * 8)
    assert (len(clip), clip.fps, clip.times) == (48, fps, None)

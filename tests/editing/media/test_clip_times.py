"""Times of frames: read from a file, kept in what is written."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from json_files import read_json
from made_clips import flat, levels_of, moving, seen, write_clip

from regrain.editing import ArrayClip, ClipError, open_clip
from regrain.editing.media.writing import timing_of, write_lossless, write_video

STAMPS = [0, 40, 47, 120, 160, 161, 400, 433]
LEVELS = [30 * i for i in range(len(STAMPS))]


def seconds(stamps):
    return [Fraction(stamp - stamps[0], 1000) for stamp in stamps]


FILM = Fraction(1001, 30000), [0, 1, 2, 5, 6, 9, 10, 11]
FINE = Fraction(1, 90000), [0, 3003, 6001, 9009, 12012, 15016, 20000, 21000]


@pytest.mark.parametrize(("unit", "stamps"), [(Fraction(1, 1000), STAMPS), FILM, FINE])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_written_times_are_those_of_the_source(tmp_path, unit, stamps, container):
    source = tmp_path / f"s.{container}"
    write_clip(source, flat(LEVELS), stamps=stamps, unit=unit, last=3, bf="0")
    clip = open_clip(source)
    path = tmp_path / "w.mp4"
    write_video(path, clip.read(0, 8), clip.fps, **timing_of(clip), tags=clip.tags)
    times, end = seen(path)
    (first, *later), was_end = seen(source)
    assert times == [0, *(time - first for time in later)]
    if container == "mp4":  # Matroska has no duration of the last frame
        assert end == was_end - first
        assert (clip.times, clip.duration) == (tuple(times), end)
    again = open_clip(path)
    for fact in ("times", "duration", "fps"):
        assert getattr(again, fact) == getattr(clip, fact)
    with av.open(str(path)) as file:
        assert file.duration == pytest.approx(float(clip.duration) * 1e6, abs=2000)


def test_a_rate_that_varies_is_the_average_however_near_to_the_stated_one(tmp_path):
    stamps = [0, 40, 80, 130, 160, 201, 242, 284]
    clip = open_clip(write_clip(tmp_path / "a.mkv", moving(8), stamps=stamps, bf="0"))
    assert clip.fps == Fraction(7 * 1000, 284)


def remux(source, target, change, **options):
    """Copy the packets of a video without encoding, each changed."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                change(packet)
                packet.stream = stream
                new.mux(packet)
    return target


def test_frames_that_an_edit_list_hides_are_not_there(tmp_path):
    """Packets that come five frames earlier, as cameras and programs that cut write
    them; none is missing, either."""

    def earlier(packet):
        packet.pts, packet.dts = packet.pts - 5 * 512, packet.dts - 5 * 512

    source = write_clip(tmp_path / "a.mp4", moving(30), g="10", bf="2")
    pictures = open_clip(source).read(0, 30)
    cut = remux(source, tmp_path / "b.mp4", earlier, avoid_negative_ts="disabled")
    clip = open_clip(cut)
    assert len(clip) == len(seen(cut)[0]) == 25
    assert clip.warnings == []
    for start in (20, 0):
        assert np.array_equal(clip.read(start, 25), pictures[5 + start :])


def test_equal_times_follow_each_other(tmp_path):
    times = [Fraction(n, 10) for n in (0, 1, 1, 1, 4)]
    how = {"times": times, "duration": Fraction(1, 2)}
    path = tmp_path / "a.mp4"
    with pytest.raises(ValueError, match="argument 2 is"):
        write_video(path, moving(4), Fraction(10), **how)
    write_video(path, moving(5), Fraction(10), **how)
    shown, _ = seen(path)
    assert sorted(set(shown)) == shown
    assert (shown[:2], len(shown)) == ([0, Fraction(1, 10)], 5)


def test_a_clip_in_memory_has_times_and_keeps_them_without_loss(tmp_path):
    times, frames = seconds(STAMPS), moving(8)
    sixteen = Fraction(16)
    clip = ArrayClip(frames, sixteen, times=times, duration=Fraction(1, 2))
    assert (list(clip.times), clip.duration) == (times, Fraction(1, 2))
    assert ArrayClip(frames, sixteen, times=times).duration == times[-1] + 1 / sixteen
    assert ArrayClip(frames, sixteen).duration == Fraction(1, 2)
    write_lossless(tmp_path / "a.mkv", clip)
    again = open_clip(tmp_path / "a.mkv")
    assert list(again.times) == times
    assert np.array_equal(again.read(0, 8), frames)
    for wrong in (times[1:], times[::-1], [time + 1 for time in times]):
        with pytest.raises(ClipError, match=r"clip\.times: Expected 8 rising times"):
            ArrayClip(frames, times=wrong)


def write_recordings(folder, *starts):
    """Join recordings of six frames, whose clocks begin at these seconds."""
    plain = write_clip(folder / "a.mkv", flat(LEVELS[:6]), bf="0")
    joined = folder / "c.ts"
    with joined.open("wb") as file:
        for start in starts:

            def later(packet, start=start):
                packet.pts += round(start / packet.time_base)
                packet.dts = packet.pts

            part = remux(plain, folder / "a.ts", later, mpegts_copyts="1")
            file.write(part.read_bytes())
    return joined


@pytest.mark.parametrize(("first", "second"), [(5, 1), (1000, 5)])
def test_joined_recordings_whose_clock_goes_back_are_refused(tmp_path, first, second):
    said = r"clip.path: The clock of 'c.ts' goes back\. .*ffmpeg"
    with pytest.raises(ClipError, match=said):
        open_clip(write_recordings(tmp_path, first, second))


@pytest.mark.parametrize("second", [6, 3600])
def test_a_gap_on_one_clock_stays(tmp_path, second):
    clip = open_clip(write_recordings(tmp_path, 1, second))
    assert clip.times[5:7] == (Fraction(1, 5), second - 1)
    assert clip.warnings == []


STATED = read_json(Path(__file__).with_name("stated.json"))
"""Containers, codecs, whether frames say how long they last, and the stated rate, of
which the last has none."""


@pytest.mark.parametrize(("suffix", "codec", "duration", "fps"), STATED)
def test_frames_of_one_time_take_the_stated_rate(
    tmp_path, suffix, codec, duration, fps
):
    def at_once(packet):
        packet.pts = packet.dts = 0
        packet.duration *= duration

    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"bf": "0"} if codec == "libx264" else {}
    frames = flat(range(0, 120, 20))
    source = tmp_path / "a.mkv"
    write_clip(source, frames, codec=codec, pixels=pixels, **options)
    clip = open_clip(remux(source, tmp_path / f"b.{suffix}", at_once))
    assert (clip.fps, clip.times, clip.duration) == (fps, None, Fraction(6, fps))
    assert levels_of(clip.read(0, 6)) == [0, 1, 2, 3, 4, 5]


def test_a_frame_of_vp8_that_is_not_shown_is_none(tmp_path):
    file = write_clip(tmp_path / "a.ivf", moving(6), codec="libvpx")
    with av.open(str(file)) as container:
        packets = [packet for packet in container.demux() if packet.size]
    data = bytearray(file.read_bytes())
    data[data.index(bytes(packets[3]))] &= ~(1 << 4)  # show_frame: RFC 6386, 9.1
    file.write_bytes(data)
    clip = open_clip(file)
    assert len(clip) == len(clip.read(0, len(clip))) == 5

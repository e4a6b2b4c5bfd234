"""Times of frames: read from a file, kept in what is written."""

from fractions import Fraction

import av
import numpy as np
import pytest
from made_clips import flat, levels_of, moving, seen, write_clip

from regrain.editing import ArrayClip, ClipError, open_clip
from regrain.editing.media.writing import timing_of, write_lossless, write_video

STAMPS = [0, 40, 47, 120, 160, 161, 400, 433]
LEVELS = [30 * i for i in range(len(STAMPS))]


def seconds(stamps, unit=Fraction(1, 1000)):
    return [(stamp - stamps[0]) * unit for stamp in stamps]


def test_a_varying_rate_is_read_frame_by_frame_and_a_part_keeps_its_own_times(tmp_path):
    varying = write_clip(
        tmp_path / "v.mp4", flat(LEVELS), stamps=STAMPS, last=67, bf="0"
    )
    clip = open_clip(varying)
    assert list(clip.times) == seconds(STAMPS)
    assert clip.duration == Fraction(500, 1000)
    assert clip.fps == Fraction(7000, 433)
    assert clip.warnings == []
    assert [
        round(value / 30) for value in clip.read(0, 8).mean((1, 2, 3)).tolist()
    ] == list(range(8))
    clip = open_clip(varying, start=1, stride=2, frames=3)
    assert [round(float(time), 3) for time in clip.times] == [0, 0.08, 0.121]
    # until the next frame that would be used
    assert clip.duration == Fraction(433 - 40, 1000)
    last = open_clip(varying, start=6)
    assert (list(last.times), last.duration) == (
        [0, Fraction(33, 1000)],
        Fraction(100, 1000),
    )


FILM = Fraction(1001, 30000), [0, 1, 2, 5, 6, 9, 10, 11]
FINE = Fraction(1, 90000), [0, 3003, 6001, 9009, 12012, 15016, 20000, 21000]


@pytest.mark.parametrize(("unit", "stamps"), [(Fraction(1, 1000), STAMPS), FILM, FINE])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_written_times_are_those_of_the_source(tmp_path, unit, stamps, container):
    source = write_clip(
        tmp_path / f"s.{container}",
        flat(LEVELS),
        stamps=stamps,
        unit=unit,
        last=3,
        bf="0",
    )
    clip = open_clip(source)
    write_video(
        tmp_path / "w.mp4", clip.read(0, 8), clip.fps, **timing_of(clip), tags=clip.tags
    )
    times, end = seen(tmp_path / "w.mp4")
    was, was_end = seen(source)
    assert times == [time - was[0] for time in was]
    if container == "mp4":  # Matroska has no duration of the last frame
        assert end == was_end - was[0]
        assert (clip.times, clip.duration) == (tuple(times), end)
    again = open_clip(tmp_path / "w.mp4")
    assert (again.times, again.duration, again.fps) == (
        clip.times,
        clip.duration,
        clip.fps,
    )
    with av.open(str(tmp_path / "w.mp4")) as file:
        assert file.duration == pytest.approx(float(clip.duration) * 1e6, abs=2000)


@pytest.mark.parametrize(
    "fps", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(8)]
)
@pytest.mark.parametrize("container", ["mp4", "mkv", "avi"])
def test_a_constant_rate_has_no_times(tmp_path, fps, container):
    codec = "mpeg4" if container == "avi" else "libx264"
    clip = open_clip(
        write_clip(tmp_path / f"a.{container}", moving(40), fps=fps, codec=codec)
    )
    assert (clip.fps, clip.times, clip.duration) == (fps, None, 40 / fps)
    assert open_clip(clip.path, 4, 3).duration == 12 * 3 / fps


@pytest.mark.parametrize("first", [0, -500, 10_000_000])
@pytest.mark.parametrize("container", ["mkv", "ts"])
def test_even_times_count_for_more_than_the_stated_rate(tmp_path, first, container):
    stamps = [first + 100 * number for number in range(12)]
    path = tmp_path / f"a.{container}"
    clip = open_clip(write_clip(path, moving(12), stamps=stamps, fps=25, bf="0"))
    assert (clip.fps, clip.times, clip.duration) == (10, None, Fraction(12, 10))


def test_a_last_frame_may_stay_and_a_file_may_start_late_or_before_zero(tmp_path):
    stamps = list(range(0, 400, 40))
    clip = open_clip(
        write_clip(tmp_path / "a.mp4", moving(10), stamps=stamps, last=1000, bf="0")
    )
    assert (list(clip.times), clip.duration) == (seconds(stamps), Fraction(1360, 1000))
    for first in (-120, 7000):
        stamps = [first + stamp for stamp in STAMPS]
        clip = open_clip(
            write_clip(tmp_path / f"{first}.mkv", flat(LEVELS), stamps=stamps)
        )
        assert list(clip.times) == seconds(STAMPS)


def test_frames_that_an_edit_list_hides_are_not_there(tmp_path):
    """Packets are copied without encoding, five frames earlier, as cameras and programs
    that cut write them; none is missing, either."""
    source, cut = (
        write_clip(tmp_path / "a.mp4", moving(30), g="10", bf="2"),
        tmp_path / "b.mp4",
    )
    pictures = open_clip(source).read(0, 30)
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as old, av.open(str(cut), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                packet.pts, packet.dts = packet.pts - 5 * 512, packet.dts - 5 * 512
                new.mux(packet)
    clip = open_clip(cut)
    assert len(clip) == len(seen(cut)[0]) == 25
    assert clip.warnings == []
    assert np.array_equal(clip.read(20, 25), pictures[25:])
    assert np.array_equal(clip.read(0, 20), pictures[5:25])


def test_equal_times_follow_each_other(tmp_path):
    times = [Fraction(n, 10) for n in (0, 1, 1, 1, 4)]
    write_video(
        tmp_path / "a.mp4",
        moving(5),
        Fraction(10),
        times=times,
        duration=Fraction(1, 2),
    )
    shown, _ = seen(tmp_path / "a.mp4")
    assert sorted(set(shown)) == shown
    assert (shown[0], shown[1], len(shown)) == (0, Fraction(1, 10), 5)
    for count in (4, 6):
        with pytest.raises(ValueError, match="argument 2 is"):
            write_video(tmp_path / "a.mp4", moving(count), Fraction(10), times=times)


def test_a_clip_in_memory_has_times_and_keeps_them_without_loss(tmp_path):
    times, frames = seconds(STAMPS), moving(8)
    clip = ArrayClip(frames, Fraction(16), times=times, duration=Fraction(1, 2))
    assert (list(clip.times), clip.duration) == (times, Fraction(1, 2))
    assert ArrayClip(frames, Fraction(16), times=times).duration == times[
        -1
    ] + Fraction(1, 16)
    assert ArrayClip(frames, Fraction(16)).duration == Fraction(1, 2)
    write_lossless(tmp_path / "a.mkv", clip)
    again = open_clip(tmp_path / "a.mkv")
    assert list(again.times) == times
    assert np.array_equal(again.read(0, 8), frames)
    for wrong in (times[1:], times[::-1], [time + 1 for time in times]):
        with pytest.raises(ClipError, match=r"clip\.times: Expected 8 rising times"):
            ArrayClip(frames, times=wrong)


def write_recording(path, start=0):
    """Write six frames of a clock that begins at these seconds."""
    plain = write_clip(path.with_suffix(".mkv"), flat(LEVELS[:6]), bf="0")
    options = {"mpegts_copyts": "1"}
    with av.open(str(plain)) as old, av.open(str(path), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux():
            if packet.size:
                packet.pts += round(start / packet.time_base)
                packet.dts = packet.pts
                packet.stream = stream
                new.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize(("first", "second"), [(5, 1), (1000, 5)])
def test_joined_recordings_whose_clock_goes_back_are_refused(tmp_path, first, second):
    path = tmp_path / "c.ts"
    parts = [write_recording(tmp_path / "a.ts", start) for start in (first, second)]
    path.write_bytes(b"".join(parts))
    with pytest.raises(
        ClipError, match=r"clip.path: The clock of 'c.ts' goes back\. .*ffmpeg"
    ):
        open_clip(path)


@pytest.mark.parametrize("second", [6, 3600])
def test_a_gap_on_one_clock_stays(tmp_path, second):
    path = tmp_path / "c.ts"
    parts = [write_recording(tmp_path / "a.ts", start) for start in (1, second)]
    path.write_bytes(b"".join(parts))
    clip = open_clip(path)
    assert clip.times[5:7] == (Fraction(1, 5), second - 1)
    assert clip.warnings == []


def test_slow_pictures_keep_their_rate(tmp_path):
    stamps = [12_000 * number for number in range(6)]
    clip = open_clip(write_clip(tmp_path / "a.ts", moving(6), stamps=stamps, bf="0"))
    assert (clip.fps, clip.times, clip.warnings) == (Fraction(1, 12), None, [])


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
    write_clip(source, flat(range(0, 120, 20)), codec=codec, pixels=pixels, **options)
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
    assert levels_of(clip.read(0, 6)) == [0, 1, 2, 3, 4, 5]

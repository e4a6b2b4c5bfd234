"""Sound is read a block at a time, and is what it would be in one piece."""

from fractions import Fraction

import av
import numpy as np
import pytest
from made_clips import RATE, flat, heard, moving, samples, write_clip

from regrain.editing.media.clip import AudioSpan
from regrain.editing.media.reading import open_clip
from regrain.editing.media.sound import open_sound
from regrain.editing.media.writing import timing_of, write_video


def in_one_piece(span, rate):
    """All samples of a span at once: placed by their times, the rest silence."""
    with av.open(str(span.path)) as container:
        stream = container.streams.audio[0]
        layout = stream.codec_context.layout
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        parts = [
            part
            for frame in container.decode(stream)
            for part in resampler.resample(frame)
        ]
    around = 10 * rate
    count = round((span.stop - span.start) * rate)
    whole = np.zeros((layout.nb_channels, count + 2 * around))
    for part in parts:
        first = around + round((part.pts * part.time_base - span.start) * rate)
        whole[:, first : first + part.samples] = part.to_ndarray()
    return whole[:, around : around + count]


@pytest.mark.parametrize(
    "span", [(0, 2), (Fraction(1, 3), Fraction(5, 3)), (Fraction(3, 2), 4), (-1, 1)]
)
@pytest.mark.parametrize("step", [200, 333, 1920, 100_000])
def test_blocks_of_any_size_join_to_the_whole(tmp_path, span, step):
    path = write_clip(tmp_path / "s.mp4", flat([9] * 20), fps=10, tone_at=1)
    span = AudioSpan(path, *map(Fraction, span))
    total = round((span.stop - span.start) * RATE)
    with open_sound(span) as sound:
        assert (sound.rate, sound.channels) == (RATE, 2)
        stops = (*range(step, total, step), total, total + 9)
        joined = np.concatenate([sound.read(stop) for stop in stops], 1)
    assert joined.shape == (2, total)
    assert np.array_equal(joined, in_one_piece(span, RATE))


def pitch(values, rate):
    """The loudest frequency, in Hz."""
    return np.abs(np.fft.rfft(values)).argmax() * rate / len(values)


@pytest.mark.parametrize(
    ("channels", "layout", "rate"),
    [
        (1, "mono", 8000),
        (2, "stereo", 44_100),
        (6, "5.1", RATE),
        (8, "7.1", RATE),
        (1, "mono", 11_000),
    ],
)
def test_uncompressed_sound_without_a_layout_is_written(
    tmp_path, channels, layout, rate
):
    tone = (9000 * np.sin(np.arange(rate) * 2 * np.pi * 440 / rate)).astype(np.int16)
    sound = "pcm_s16le", samples(tone.repeat(channels)[None], "s16", layout, rate)
    path = write_clip(tmp_path / "s.mkv", flat([9] * 10), fps=10, sound=sound)
    clip = open_clip(path)
    write_video(tmp_path / "w.mp4", clip.read(0, 10), clip.fps, audio_from=clip.audio)
    written, values = heard(tmp_path / "w.mp4")
    assert written == (RATE if rate == 11_000 else rate)
    assert len(values) == min(channels, 6)
    found = pitch(values[0, 2048 : written - 4096], written)
    assert found == pytest.approx(440, abs=2)


VARYING = {
    "stamps": [0, 40, 80, 900, 940, 1600, 1640, 2000],
    "last": 400,
}  # the tone begins with a frame


@pytest.mark.parametrize(
    ("how", "begin", "end"), [(VARYING, 0.08, 2), ({"fps": 5}, 0.4, 1.4)]
)
def test_sound_is_cut_to_the_used_span_and_in_time(tmp_path, how, begin, end):
    path = write_clip(tmp_path / "s.mp4", moving(8), tone_at=0.94, **how)
    clip = open_clip(path, start=2, frames=5)
    assert clip.audio == AudioSpan(path, Fraction(str(begin)), Fraction(str(end)))
    timing = timing_of(clip) | {"audio_from": clip.audio}
    write_video(tmp_path / "w.mp4", clip.read(0, 5), clip.fps, **timing)
    rate, values = heard(tmp_path / "w.mp4")
    assert rate == RATE
    assert values.shape[1] / rate == pytest.approx(end - begin, abs=0.05)
    onset, doubt = round((0.94 - begin) * rate), round(0.03 * rate)
    assert np.abs(values[:, : onset - doubt]).max() < 0.02
    tone = values[0, onset + doubt : -doubt]
    assert tone.std() == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert pitch(tone, rate) == pytest.approx(1000, abs=5)


def test_samples_that_are_no_numbers_are_silence(tmp_path):
    wave = np.sin(np.arange(RATE) * 0.1).astype(np.float32)
    wave[100:200], wave[300], wave[400] = np.nan, np.inf, -1e30
    sound = "pcm_f32le", samples(wave[None], "flt", "mono")
    clip = open_clip(write_clip(tmp_path / "n.mkv", moving(10), fps=10, sound=sound))
    with open_sound(clip.audio) as opened:
        values = opened.read(RATE // 2)
    assert (values[0, 100:200] == 0).all()
    assert np.isfinite(values).all()
    write_video(tmp_path / "w.mp4", clip.read(0, 10), clip.fps, audio_from=clip.audio)
    assert np.abs(heard(tmp_path / "w.mp4")[1]).max() < 1.5

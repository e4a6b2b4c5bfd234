"""Sound is read a block at a time, and is what it would be in one piece."""

from fractions import Fraction

import av
import numpy as np
import pytest
from made_clips import RATE, flat, heard, moving, write_clip

from regrain.editing.media.clip import AudioSpan
from regrain.editing.media.reading import open_clip
from regrain.editing.media.sound import open_sound
from regrain.editing.media.writing import timing_of, write_video


def in_one_piece(span, rate):
    """All samples of a span at once: placed by their times, the rest silence."""
    with av.open(str(span.path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout=stream.codec_context.layout, rate=rate)
        samples = np.zeros((stream.codec_context.layout.nb_channels, round((span.stop - span.start) * rate)))
        for frame in container.decode(stream):
            for part in resampler.resample(frame):
                offset = round((part.pts * part.time_base - span.start) * rate)
                block = part.to_ndarray()
                for number in range(block.shape[1]):
                    if 0 <= offset + number < samples.shape[1]:
                        samples[:, offset + number] = block[:, number]
    return samples


SPANS = [(0, 2), (Fraction(1, 3), Fraction(5, 3)), (Fraction(3, 2), 4), (-1, 1)]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("step", [1, 333, 1920, 100_000])
def test_blocks_of_any_size_join_to_the_whole(tmp_path, span, step):
    path = write_clip(tmp_path / "s.mp4", flat([9] * 20), fps=10, tone_at=1)
    span = AudioSpan(path, *map(Fraction, span))
    total = round((span.stop - span.start) * RATE)
    stops = [*range(max(step, total // 500), total, max(step, total // 500)), total, total + 9]
    with open_sound(span) as sound:
        assert (sound.rate, sound.channels) == (RATE, 2)
        blocks = [sound.read(stop) for stop in stops]
    samples = np.concatenate(blocks, 1)
    assert samples.shape == (2, total)
    assert np.array_equal(samples, in_one_piece(span, RATE))


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 44_100), (6, RATE), (8, RATE), (1, 11_000)])
def test_uncompressed_sound_without_a_layout_is_written(tmp_path, channels, rate):
    path = tmp_path / "s.mkv"
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[channels]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 32, 16, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        for frame in flat([9] * 10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        tone = (9000 * np.sin(np.arange(rate) * 2 * np.pi * 440 / rate)).astype(np.int16)
        sound = av.AudioFrame.from_ndarray(tone.repeat(channels)[None], format="s16", layout=layout)
        sound.sample_rate = rate
        container.mux([*audio.encode(sound), *video.encode(None), *audio.encode(None)])
    clip = open_clip(path)
    write_video(tmp_path / "w.mp4", clip.read(0, 10), clip.fps, audio_from=clip.audio)
    written, samples = heard(tmp_path / "w.mp4")
    assert written == (RATE if rate == 11_000 else rate)
    assert len(samples) == min(channels, 6)
    tone = samples[0, 2048 : written - 4096]
    assert np.abs(np.fft.rfft(tone)).argmax() * written / len(tone) == pytest.approx(440, abs=2)


def test_sound_of_a_varying_rate_is_in_time(tmp_path):
    stamps = [0, 40, 80, 900, 940, 1600, 1640, 2000]  # the tone begins with the frame at 0.94
    path = write_clip(tmp_path / "s.mp4", moving(8), stamps=stamps, last=400, tone_at=0.94)
    clip = open_clip(path, start=2, frames=5)
    assert clip.audio == AudioSpan(path, Fraction(8, 100), Fraction(2))
    write_video(tmp_path / "w.mp4", clip.read(0, 5), clip.fps, **timing_of(clip), audio_from=clip.audio)
    _, samples = heard(tmp_path / "w.mp4")
    begins = np.abs(samples[0]).__gt__(0.2).argmax() / RATE
    assert begins == pytest.approx(0.94 - 0.08, abs=0.03)
    assert samples.shape[1] / RATE == pytest.approx(1.92, abs=0.05)


def test_samples_that_are_no_numbers_are_silence(tmp_path):
    wave = np.sin(np.arange(RATE) * 0.1).astype(np.float32)
    wave[100:200], wave[300], wave[400] = np.nan, np.inf, -1e30
    with av.open(str(tmp_path / "n.mkv"), "w") as container:
        video = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        audio = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        for frame in moving(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        sound = av.AudioFrame.from_ndarray(wave[None], format="flt", layout="mono")
        sound.sample_rate = RATE
        container.mux([*audio.encode(sound), *video.encode(None), *audio.encode(None)])
    clip = open_clip(tmp_path / "n.mkv")
    with open_sound(clip.audio) as opened:
        samples = opened.read(RATE // 2)
    assert (samples[0, 100:200] == 0).all()
    assert np.isfinite(samples).all()
    write_video(tmp_path / "w.mp4", clip.read(0, 10), clip.fps, audio_from=clip.audio)
    assert np.abs(heard(tmp_path / "w.mp4")[1]).max() < 1.5

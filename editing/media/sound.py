"""The sound of a clip, decoded while it is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain

import av
import numpy as np
from jaxtyping import Float32

from regrain.editing.media.clip import AudioSpan
from regrain.editing.media.index import CONTAINERS

log = logging.getLogger(__name__)
_AUDIO_RATE = 48_000  # of sound at a rate that AAC does not have
_USUAL = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1")  # by number of channels
_MOST_CHANNELS = len(_USUAL)  # that PyAV passes on
_MOST_SILENCE = 60  # seconds after the end of the sound; a frame may last for hours
_LOUDEST = 16.0  # of a sample; a sound one is within -1..1, or a little beyond
_Block = tuple[int, np.ndarray]  # number of the first sample, samples by channel


class Sound:
    """The sound of a span, `rate` samples a second, read in order; silence where the source has none."""

    def __init__(
        self, blocks: Iterator[_Block], rate: int, layout: av.AudioLayout, length: int
    ) -> None:
        self.rate, self.layout, self.channels = rate, layout.name, layout.nb_channels
        self._blocks, self._length, self._at = blocks, length, 0
        self._kept: list[_Block] = []  # blocks that reach beyond what was read

    def read(self, stop: int) -> Float32[np.ndarray, "channels samples"]:
        """Read the samples, -1..1, from where the last call stopped up to `stop` or the end of the span.

        Where the sound ends long before the span, the rest is left out.
        """
        stop = max(self._at, min(stop, self._length))
        samples = np.zeros((self.channels, stop - self._at), np.float32)
        if stop == self._at:
            return samples
        kept, self._kept, ended = self._kept, [], self._at
        for offset, block in chain(kept, self._blocks):
            ended = max(ended, offset + block.shape[1])
            begin = offset - self._at
            part = block[:, max(0, -begin) :]
            place = samples[:, max(0, begin) :][:, : part.shape[1]]
            place[:] = part[:, : place.shape[1]]
            if offset + block.shape[1] > stop:
                self._kept.append((offset, block))
            if offset >= stop:
                break
        else:  # the source's sound has ended
            self._length = min(self._length, ended + _MOST_SILENCE * self.rate)
        self._at = stop
        return samples


@contextmanager
def open_sound(span: AudioSpan) -> Iterator[Sound]:
    """Open the sound of a span, at its own rate if AAC has that, else at 48 kHz.

    It is decoded from the beginning of the file: most decoders carry something over from packet to packet, so
    that sound decoded from the middle on would be another.
    """
    with av.open(
        str(span.path.resolve()), container_options={"format_whitelist": CONTAINERS}
    ) as container:
        stream = next(stream for stream in container.streams.audio if stream.codec_context)
        rate, layout = stream.codec_context.sample_rate, _layout_for(stream.codec_context.layout)
        if rate not in (av.Codec("aac", "w").audio_rates or [rate]):
            rate = _AUDIO_RATE
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        blocks = _decode(container.decode(stream), resampler, span.start)
        yield Sound(blocks, rate, layout, round((span.stop - span.start) * rate))


def _layout_for(layout: av.AudioLayout) -> av.AudioLayout:
    """The layout to write: the source's, or the usual one if it is not known or too large."""
    if layout.nb_channels > _MOST_CHANNELS:
        return av.AudioLayout("5.1")
    return (
        av.AudioLayout(_USUAL[layout.nb_channels - 1])
        if layout.name.endswith(" channels")
        else layout
    )


def _decode(
    frames: Iterator[av.AudioFrame], resampler: av.AudioResampler, start: Fraction
) -> Iterator[_Block]:
    """Blocks of sound, numbered by their times; sample 0 is at `start` seconds."""
    at = 0
    try:
        for frame in chain.from_iterable(map(resampler.resample, frames)):
            if frame.pts is not None:
                at = round((frame.pts * frame.time_base - start) * frame.sample_rate)
            block = frame.to_ndarray()
            block[~(np.abs(block) <= _LOUDEST)] = 0  # NaN among them; the encoder takes neither
            yield at, block
            at += frame.samples
    except av.FFmpegError as error:  # no reason to lose the pictures
        log.warning("the sound of a clip is damaged (%s); the rest of it is silence", error)

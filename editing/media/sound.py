"""The sound of a clip, decoded while it is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
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
    """The sound of a span, `rate` samples a second, read in order; silence where the
    source has none."""

    def __init__(
        self, blocks: Iterator[_Block], rate: int, layout: av.AudioLayout, length: int
    ) -> None:
        self.rate = rate
        self.layout = layout.name
        self.channels = layout.nb_channels
        self._blocks = blocks
        self._length = length  # samples
        self._at = 0  # the sample that is read next
        self._kept: list[_Block] = []  # blocks that reach beyond what was read

    def read(self, stop: int) -> Float32[np.ndarray, "channels samples"]:
        """Read the samples, -1..1, from where the last call stopped up to `stop` or the
        end of the span.

        Where the sound ends long before the span, the rest is left out.
        """
        start = self._at
        stop = max(start, min(stop, self._length))
        samples = np.zeros((self.channels, stop - start), np.float32)
        if stop == start:
            return samples
        earlier = self._kept
        self._kept = []
        ended = start
        for offset, block in chain(earlier, self._blocks):
            block_end = offset + block.shape[1]
            ended = max(ended, block_end)
            # the part that overlaps
            at = offset - start
            part = block[:, max(0, -at) :]
            place = samples[:, max(0, at) :]
            length = min(part.shape[1], place.shape[1])
            place[:, :length] = part[:, :length]
            if block_end > stop:
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

    It is decoded from the beginning of the file: most decoders carry something over
    from packet to packet, so that sound decoded from the middle on would be another.
    """
    options = {"format_whitelist": CONTAINERS}
    with av.open(str(span.path.resolve()), container_options=options) as container:
        stream = next(
            stream for stream in container.streams.audio if stream.codec_context
        )
        source = stream.codec_context
        layout = source.layout
        if layout.nb_channels > _MOST_CHANNELS:
            layout = av.AudioLayout("5.1")
        elif layout.name.endswith(" channels"):  # not known
            layout = av.AudioLayout(_USUAL[layout.nb_channels - 1])
        rates = av.Codec("aac", "w").audio_rates
        rate = source.sample_rate
        if rates and rate not in rates:
            rate = _AUDIO_RATE
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        blocks = _decode(container.decode(stream), resampler, span)
        length = round((span.stop - span.start) * rate)
        yield Sound(blocks, rate, layout, length)


def _decode(
    frames: Iterator[av.AudioFrame], resampler: av.AudioResampler, span: AudioSpan
) -> Iterator[_Block]:
    """Yield blocks of sound, numbered by their times; sample 0 is at the start of the
    span."""
    at = 0
    try:
        for decoded in frames:
            for frame in resampler.resample(decoded):
                if frame.pts is not None and frame.time_base:
                    seconds = frame.pts * frame.time_base
                    at = round((seconds - span.start) * frame.sample_rate)
                block = frame.to_ndarray()
                is_sound = np.abs(block) <= _LOUDEST
                block[~is_sound] = 0  # the encoder takes neither NaN nor huge values
                yield at, block
                at += frame.samples
    except av.FFmpegError as error:  # no reason to lose the pictures
        log.warning(
            "the sound of a clip is damaged (%s); the rest of it is silence", error
        )

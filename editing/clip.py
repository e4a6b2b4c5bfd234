"""Clips: where frames come from, and the one writer of video files. Decoding and encoding are PyAV's."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

import av
import numpy as np
from av.video.reformatter import Interpolation
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from editing.errors import ClipError, shorten

log = logging.getLogger(__name__)
MAX_SIDE = 8192
DEFAULT_FPS = Fraction(8)
_AUDIO_RATE = 48_000  # of sound at a rate that AAC does not have
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
# Containers only: playlists and image scripts would open further files.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,gif,asf,dv,mxf"
# Without these a round trip through RGB darkens every pixel by one level.
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side


class ColorTags(NamedTuple):
    """How YUV values are meant, in the numbers of ISO/IEC 23091-2; the default is BT.709, limited range."""

    matrix: int = 1
    range: int = 1
    primaries: int = 1
    transfer: int = 1


class AudioSpan(NamedTuple):
    """Sound that belongs to a clip: from `start` to `stop` seconds of the file's clock."""

    path: Path
    start: Fraction
    stop: Fraction


@runtime_checkable
class Clip(Protocol):
    """A source of frames.

    Attributes:
        name: File or folder name.
        size: (width, height) as shown, rotation and the shape of its pixels applied.
        fps: Frames of this clip per second, the stride taken out.
        tags: Colour tags of the source, for the writer.
        audio: Sound of the used span, None where there is none.
        warnings: What a user should know about how the source was read.
        comment: What the file says of itself; "" where it says nothing.
    """

    name: str
    size: tuple[int, int]
    fps: Fraction
    tags: ColorTags
    audio: AudioSpan | None
    warnings: list[str]
    comment: str

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """Frames start to stop - 1 of the clip, RGB.

        Raises:
            IndexError: Not 0 <= start <= stop <= len.
            ClipError: A frame cannot be decoded.
        """
        ...


class ArrayClip:
    """Frames in memory.

    Args:
        frames: RGB.
        fps: Frames per second.
        name: Shown to users.
        comment: See `Clip`.

    Raises:
        ClipError: Not uint8 [frames, height, width, 3], or no frame.
    """

    def __init__(
        self, frames: np.ndarray, fps: Fraction | int = DEFAULT_FPS, name: str = "array", comment: str = ""
    ) -> None:
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
            raise ClipError(
                "clip",
                f"{frames.dtype} {frames.shape} was given; allowed is uint8 [frames, height, width, 3]",
            )
        self._frames = frames
        self.name, self.fps, self.size = name, Fraction(fps), (frames.shape[2], frames.shape[1])
        self.tags, self.audio, self.warnings = ColorTags(), None, list[str]()
        self.comment = comment

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`."""
        _check_window(start, stop, len(self))
        return self._frames[start:stop]


class ImageClip:
    """A folder of images in the order of their names, numbers by value; see `open_clip`."""

    def __init__(self, path: Path, start: int = 0, stride: int = 1, frames: int | None = None) -> None:
        files = sorted(
            (file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES),
            key=lambda file: natural(file.name),
        )
        if not files:
            raise ClipError(
                "clip.path", f"{path.name!r} holds no image; allowed are {', '.join(IMAGE_SUFFIXES)}"
            )
        self.path, self.start, self.stride = path, start, stride
        self.folder_files = files
        self.files = files[_used(len(files), start, stride, frames)]
        self.name, self.fps = path.name, DEFAULT_FPS / stride
        self.size = _image_size(self.files[0])
        self.tags, self.audio, self.warnings = ColorTags(), None, list[str]()
        self.comment = ""
        for file in self.files:
            if _image_size(file) != self.size:
                raise ClipError(
                    "clip.path",
                    f"{file.name} is {_image_size(file)}, the first image {self.size}; make them equal",
                )
        _check_size(self.size)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`."""
        _check_window(start, stop, len(self))
        return _stack([_read_image(file) for file in self.files[start:stop]], self.size)


@dataclass(frozen=True)
class _Facts:
    """What a video file says about itself before rotation."""

    frames: int
    fps: Fraction
    start: Fraction
    steady: bool
    has_audio: bool
    comment: str
    pixel: Fraction


class VideoClip:
    """A video file; see `open_clip`. Frames are taken one by one as they are stored, whatever their times."""

    def __init__(self, path: Path, start: int = 0, stride: int = 1, frames: int | None = None) -> None:
        self.path, self.start, self.stride, self.name = path, start, stride, path.name
        facts = _probe(path)
        self._used = _used(facts.frames, start, stride, frames)
        self.fps = facts.fps / stride
        first = next(_decode(path), None)
        if first is None:
            raise ClipError("clip.path", f"{path.name!r} holds no frame that can be decoded; re-encode it")
        self._pixel = facts.pixel
        self.size = _upright(first, self._pixel).shape[1::-1]
        _check_size(self.size)
        self.tags = _tags_of(first)
        seconds = [facts.start + Fraction(frame) / facts.fps for frame in (start, start + stride * len(self))]
        self.audio = AudioSpan(path, *seconds) if facts.has_audio else None
        self.warnings, self.comment = list[str](), facts.comment
        if not facts.steady:
            self.warnings.append(
                f"the frame rate varies; frames are kept one by one at {float(self.fps):.4g} per second"
            )
        self._lock = Lock()
        self._decoder: Iterator[av.VideoFrame] = iter(())
        self._next = -1

    def __len__(self) -> int:
        return len(range(*self._used.indices(self._used.stop)))

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`. Reading on from where the last call ended decodes nothing twice."""
        _check_window(start, stop, len(self))
        wanted = range(*self._used.indices(self._used.stop))[start:stop]
        with self._lock:
            return _stack([_upright(self._seek(index), self._pixel) for index in wanted], self.size)

    def _seek(self, index: int) -> av.VideoFrame:
        # Counting from the first frame is exact in every container; seeking by time is not.
        if self._next < 0 or index < self._next:
            self._decoder, self._next = _decode(self.path), 0
        frame = next(islice(self._decoder, index - self._next, None), None)
        self._next = index + 1
        if frame is None:
            self._next = -1
            raise ClipError(
                "clip.path", f"{self.name!r} breaks off before frame {index}; trim or re-encode it"
            )
        return frame


def open_clip(
    path: str | Path, start: int = 0, stride: int = 1, frames: int | None = None
) -> VideoClip | ImageClip:
    """Open a video file or a folder of images.

    Args:
        path: Local path; URLs are refused.
        start: First frame used.
        stride: Use every stride-th frame; fps is divided by it.
        frames: Number of frames used; None takes all there are.

    Raises:
        ClipError: Nothing there, no video, or fewer frames than asked for.
    """
    if "://" in str(path):
        raise ClipError(
            "clip.path",
            f"{shorten(str(path))} is a URL; allowed is a local file or folder; download it first",
        )
    path = Path(path)
    if path.is_dir():
        return ImageClip(path, start, stride, frames)
    if not path.is_file():
        raise ClipError(
            "clip.path", f"{shorten(str(path))} does not exist; name a video file or a folder of images"
        )
    return VideoClip(path, start, stride, frames)


def resize(
    frames: UInt8[np.ndarray, "frames height width 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "frames new_height new_width 3"]:
    """Scale frames to (width, height): pixel areas averaged when shrinking, cubic otherwise."""
    height, width = frames.shape[1:3]
    if (width, height) == tuple(size):
        return frames
    import cv2  # a third of a second to import, which refusing a bad project must not cost

    shrinks = size[0] <= width and size[1] <= height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return _stack([cv2.resize(frame, size, interpolation=method) for frame in frames], size)


def write_video(
    path: str | Path,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: Fraction,
    *,
    audio_from: AudioSpan | None = None,
    tags: ColorTags | None = None,
    comment: str = "AI-edited video",
) -> None:
    """Write an MP4: H.264 yuv420p at CRF 7, AAC, index first, the same bytes for the same input.

    yuv420p has even sizes only. A frame of odd size is encoded with its last row or column repeated, and the
    container declares the true size, to which decoders crop.

    Args:
        path: File to write.
        frames: RGB frames of one size.
        fps: Frames per second.
        audio_from: Sound to carry over, cut to its span.
        tags: Colour tags to write and to convert by; None is BT.709.
        comment: What the file says of itself.

    Raises:
        ValueError: No frame.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    height, width = first.shape[:2]
    tags = tags or ColorTags()
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = comment
        video = _add_video(container, (width + width % 2, height + height % 2), fps, tags)
        write_sound = _add_audio(container, audio_from, fps) if audio_from else None
        for index, frame in enumerate(chain([first], iterator)):
            container.mux(video.encode(_to_yuv(frame, tags)))
            if write_sound:
                write_sound(index)
        container.mux(video.encode(None))
        if write_sound:
            write_sound(None)
    if width % 2 or height % 2:
        _declare_size(Path(path), width, height)


def write_lossless(path: Path, clip: Clip) -> None:
    """Write a clip as RGB FFV1 in Matroska: every pixel as it is, in about half the bytes."""
    with av.open(str(path), "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = clip.comment
        stream = container.add_stream("ffv1", rate=clip.fps)
        (stream.width, stream.height), stream.pix_fmt = clip.size, "bgr0"
        for index in range(len(clip)):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(clip.read(index, index + 1)[0]), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def natural(name: str) -> list[tuple[int, str]]:
    """What names of frames are sorted by: numbers by value, `9.png` before `10.png`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _check_window(start: int, stop: int, length: int) -> None:
    if not 0 <= start <= stop <= length:
        raise IndexError(f"frames {start} to {stop} of a clip of {length}")


def _check_size(size: tuple[int, int]) -> None:
    if max(size) > MAX_SIDE:
        raise ClipError(
            "clip.path",
            f"frames of {size[0]}x{size[1]} were given; allowed are {MAX_SIDE} a side; scale it down",
        )


def _used(total: int, start: int, stride: int, frames: int | None) -> slice:
    """The source frames a clip uses, of `total` there are."""
    if start < 0 or stride < 1 or (frames is not None and frames < 1):
        key, value = (
            ("start", start) if start < 0 else ("stride", stride) if stride < 1 else ("frames", frames)
        )
        raise ClipError(
            f"clip.{key}", f"{value} was given; allowed is {int(key != 'start')} or more; change it"
        )
    available = len(range(start, total, stride))
    if not available:
        raise ClipError("clip.start", f"{start} was given; the clip has {total} frames; start earlier")
    if frames is not None and frames > available:
        raise ClipError(
            "clip.frames",
            f"{frames} was given; there are {available} from start {start} at stride {stride}; ask for fewer",
        )
    count = available if frames is None else frames
    return slice(start, start + (count - 1) * stride + 1, stride)


def _stack(frames: Sequence[np.ndarray], size: tuple[int, int]) -> UInt8[np.ndarray, "frames height width 3"]:
    width, height = size
    if any(frame.shape != (height, width, 3) for frame in frames):
        raise ClipError("clip.path", "the frame size changes within the clip; re-encode it at one size")
    return np.stack(frames) if frames else np.empty((0, height, width, 3), np.uint8)


def _image_size(file: Path) -> tuple[int, int]:
    with _open_image(file) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION, 1) >= 5 else (width, height)


def _read_image(file: Path) -> UInt8[np.ndarray, "height width 3"]:
    with _open_image(file) as image:
        try:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):  # Pillow would cut all above 255
                upright = Image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
            elif upright.mode in ("I", "F"):
                raise ValueError(f"its pixels are {upright.mode}; allowed are 8 and 16 bits")
            return np.asarray(upright.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise ClipError("clip.path", f"{file.name} cannot be decoded ({error}); replace it") from None


def _open_image(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ClipError(
            "clip.path", f"{file.name} is no image that can be read ({error}); replace it"
        ) from None


def _open_video(path: Path) -> av.container.InputContainer:
    try:
        container = av.open(str(path.resolve()), container_options={"format_whitelist": _CONTAINERS})
    except (av.FFmpegError, OSError, ValueError):
        raise ClipError(
            "clip.path", f"{path.name!r} is no video that can be read; convert it to MP4"
        ) from None
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        raise ClipError(
            "clip.path", f"{path.name!r} holds no video stream that can be decoded; convert it to MP4"
        )
    return container


def _probe(path: Path) -> _Facts:
    with _open_video(path) as container:
        stream = container.streams.video[0]
        try:
            times = [
                packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard
            ]
        except av.FFmpegError as error:
            raise ClipError(
                "clip.path", f"{path.name!r} cannot be read to its end ({error}); re-encode it"
            ) from None
        packs_frames = stream.codec_context.name == "mpeg4" and None in times
        known = sorted(time for time in times if time is not None)
        gaps = np.diff(known)
        steady = len(gaps) == 0 or bool(gaps.max() - gaps.min() <= max(2, 0.05 * gaps.mean()))
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_FPS
        if not steady:
            rate = Fraction(len(gaps)) / ((known[-1] - known[0]) * stream.time_base)
        start = known[0] * stream.time_base if known else Fraction(0)
        has_audio = any(stream.codec_context for stream in container.streams.audio)
        comment = {key.lower(): value for key, value in container.metadata.items()}.get("comment", "")
        pixel = stream.sample_aspect_ratio or Fraction(1)  # 0 where it is unknown
    # Packets are counted without decoding, except where one packet may hold several frames (DivX in AVI).
    frames = sum(1 for _ in _decode(path)) if packs_frames else len(times)
    return _Facts(frames, Fraction(rate).limit_denominator(100_000), start, steady, has_audio, comment, pixel)


def _decode(path: Path) -> Iterator[av.VideoFrame]:
    with _open_video(path) as container:
        # No decoder threads: one that reports an error waits for Python while Python, closing a half-read
        # file, waits for it, once anything (torchvision does) has turned PyAV's logging on.
        container.streams.video[0].codec_context.thread_count = 1
        try:
            yield from container.decode(video=0)
        except av.FFmpegError as error:
            raise ClipError("clip.path", f"{path.name!r} cannot be decoded ({error}); re-encode it") from None


def _square(width: int, height: int, pixel: Fraction) -> tuple[int, int]:
    """Size of a frame once its pixels, `pixel` times as wide as high, are square; no side shrinks."""
    return (round(width * pixel), height) if pixel > 1 else (width, round(height / pixel))


def _upright(frame: av.VideoFrame, pixel: Fraction) -> UInt8[np.ndarray, "height width 3"]:
    width, height = _square(frame.width, frame.height, pixel)
    rgb = frame.reformat(width, height, "rgb24", interpolation=_EXACT, threads=1)
    return np.rot90(rgb.to_ndarray(), frame.rotation // 90)


def _tags_of(frame: av.VideoFrame) -> ColorTags:
    if frame.format.is_rgb:
        return ColorTags()
    return ColorTags(
        int(frame.colorspace), int(frame.color_range), int(frame.color_primaries), int(frame.color_trc)
    )


def _add_video(
    container: av.container.OutputContainer, size: tuple[int, int], fps: Fraction, tags: ColorTags
) -> av.VideoStream:
    # One thread, no macroblock tree: with either, x264 writes different bytes for the same frames.
    options = {"crf": "7", "preset": "medium", "threads": "1", "x264-params": "mbtree=0"}
    stream = container.add_stream("libx264", rate=fps, options=options)
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    stream.color_range, stream.colorspace = tags.range, tags.matrix
    stream.color_primaries, stream.color_trc = tags.primaries, tags.transfer
    return stream


def _to_yuv(frame: UInt8[np.ndarray, "height width 3"], tags: ColorTags) -> av.VideoFrame:
    height, width = frame.shape[:2]
    even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    return rgb.reformat(
        format="yuv420p",
        dst_colorspace=tags.matrix,
        dst_color_range=tags.range,
        interpolation=_EXACT | Interpolation.FULL_CHR_H_INP,
        threads=1,
    )


def _read_sound(span: AudioSpan) -> tuple[Float32[np.ndarray, "channels samples"], int, str]:
    """Samples of the span, silence where the source has none; their rate; the channel layout."""
    with av.open(str(span.path.resolve()), container_options={"format_whitelist": _CONTAINERS}) as container:
        stream = next(stream for stream in container.streams.audio if stream.codec_context)
        rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
        if rate not in (av.Codec("aac", "w").audio_rates or [rate]):
            rate = _AUDIO_RATE
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        samples = np.zeros((layout.nb_channels, round((span.stop - span.start) * rate)), np.float32)
        try:
            for frame in chain.from_iterable(resampler.resample(frame) for frame in container.decode(stream)):
                offset = round((frame.pts * frame.time_base - span.start) * rate)
                if offset >= samples.shape[1]:
                    break
                block = frame.to_ndarray()[:, max(0, -offset) :]
                place = samples[:, max(0, offset) :][:, : block.shape[1]]
                place[:] = block[:, : place.shape[1]]
        except av.FFmpegError as error:  # no reason to lose the pictures
            log.warning("the sound of a clip is damaged (%s); the rest of it is silence", error)
    return samples, rate, layout.name


def _add_audio(
    container: av.container.OutputContainer, span: AudioSpan, fps: Fraction
) -> Callable[[int | None], None]:
    """Add a sound track; the returned function writes the sound of one frame, or the end for None."""
    samples, rate, layout = _read_sound(span)
    stream = container.add_stream("aac", rate=rate, layout=layout)
    stream.bit_rate = 96_000 * len(samples)

    def write(index: int | None) -> None:
        if index is None:
            container.mux(stream.encode(None))
            return
        start, stop = (round(frame * rate / fps) for frame in (index, index + 1))
        block = np.ascontiguousarray(samples[:, start:stop])
        if block.shape[1]:
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))

    return write


def _declare_size(path: Path, width: int, height: int) -> None:
    """Write the shown size into the video track of an MP4 (ISO/IEC 14496-12, 8.3.2 and 12.1.3)."""
    with path.open("r+b") as file:
        for kind, start, stop in _boxes(file, 0, path.stat().st_size):
            file.seek(start)
            data = bytearray(file.read(stop - start)) if kind in (b"tkhd", b"stsd") else b""
            if kind == b"tkhd" and any(data[-8:]):  # a sound track's is 0 x 0
                data[-8:] = struct.pack(">II", width << 16, height << 16)
            elif kind == b"stsd" and data[12:16] == b"avc1":
                data[40:44] = struct.pack(">HH", width, height)
            file.seek(start)
            file.write(data)


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Walk the boxes of an MP4 down to the sample tables: kind, start and stop of the content."""
    while start < stop:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size < 8:  # 0 and 1: media data over 4 GB; the index stands before it
            return
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            yield from _boxes(file, start + 8, start + size)
        yield kind, start + 8, start + size
        start += size

import io
import re
import struct
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from json_files import read_json
from made_clips import flat, levels_of, moving, noise, off, write_clip
from PIL import Image, ImageOps, features

from regrain.editing.errors import ClipError
from regrain.editing.media.clip import (
    ArrayClip,
    ColorTags,
    resize,
    resize_labels,
)
from regrain.editing.media.reading import open_clip
from regrain.editing.media.writing import write_lossless, write_video

FILM = Fraction(24000, 1001)
PARTS = read_json(Path(__file__).with_name("clips.json"))
"""Parts of a clip of 12 frames: those they show, or why there is none; and folders of
pictures: what is said of them, or why they are none."""


def facts(path):
    """What another program sees: size, pixel format, rate and number of frames."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        (shown,) = {(frame.width, frame.height, frame.format.name) for frame in frames}
        return (*shown, container.streams.video[0].average_rate, len(frames))


def test_no_frame_is_kept_while_the_next_is_made(tmp_path):
    seen = []

    def made(number):
        assert not any(frame() is not None for frame in seen)
        frame = np.full((64, 96, 3), number, np.uint8)
        seen.append(weakref.ref(frame))
        return frame

    write_video(tmp_path / "a.mp4", map(made, range(4)), Fraction(8))
    assert len(seen) == 4


@pytest.mark.parametrize("size", [(64, 48), (65, 48), (64, 49), (101, 75), (1, 1)])
def test_written_video_has_the_size_rate_and_length_it_was_given(tmp_path, size):
    frames = flat(range(0, 100, 20), *size)
    write_video(tmp_path / "a.mp4", frames, FILM)
    assert facts(tmp_path / "a.mp4") == (*size, "yuv420p", FILM, 5)
    assert off(open_clip(tmp_path / "a.mp4").read(0, 5), frames).mean() < 3


def test_same_frames_same_bytes_with_index_first_and_note(tmp_path):
    source = write_clip(tmp_path / "s.mp4", moving(20), fps=10, tone_at=1)
    sound = open_clip(source).audio
    frames = noise(12, 17, 23, 3).repeat(8, 1).repeat(8, 2)
    written = set()
    # x264 with a macroblock tree passes twice in a row often enough
    for _ in range(10):
        write_video(tmp_path / "a.mp4", frames, Fraction(10), audio_from=sound)
        written.add((tmp_path / "a.mp4").read_bytes())
    (data,) = written
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["comment"] == "AI-edited video"
        assert "creation_time" not in container.metadata
    assert open_clip(tmp_path / "a.mp4").comment == "AI-edited video"


@pytest.mark.parametrize(
    ("height", "held"), [(1080, (b"3", b"3")), (2160, (b"1", b"0"))]
)
def test_of_a_plate_the_encoder_holds_one_frame(tmp_path, height, held):
    file = tmp_path / "plate.mp4"
    frame = np.full((height, height * 16 // 9, 3), 90, np.uint8)
    write_video(file, [frame, frame], Fraction(24))
    # x264 writes its settings into the first frame
    said = re.findall(rb" ref=(\d).* bframes=(\d)", file.read_bytes())
    assert said == [held]


def test_a_round_trip_has_no_bias(tmp_path):
    frames = (60 + noise(4, 12, 16, 3) // 2).repeat(8, 1).repeat(8, 2)
    write_video(tmp_path / "a.mp4", frames, Fraction(8))
    again = open_clip(tmp_path / "a.mp4").read(0, 4).astype(int)
    assert np.abs((again - frames).mean((0, 1, 2))).max() < 0.5


@pytest.fixture
def numbered(tmp_path):
    """A video whose frame i is grey at level 20 i."""
    write_video(tmp_path / "n.mp4", flat(range(0, 240, 20)), Fraction(30))
    return tmp_path / "n.mp4"


@pytest.mark.parametrize(("chosen", "levels"), PARTS["chosen"])
def test_start_stride_and_frames_choose_the_frames_read_in_any_order(
    numbered, chosen, levels
):
    clip = open_clip(numbered, **chosen)
    assert (len(clip), clip.audio) == (len(levels), None)
    assert clip.fps == Fraction(30, chosen.get("stride", 1))
    for window in ((2, 4), (4, 5), (0, 2), (0, 6), (3, 3)):
        if max(window) <= len(levels):
            assert levels_of(clip.read(*window)) == levels[slice(*window)]
    for window in [(-1, 2), (3, 2), (0, len(levels) + 1)]:
        with pytest.raises(IndexError):
            clip.read(*window)


@pytest.mark.parametrize(("options", "message"), PARTS["refused"])
def test_more_than_there_is_is_refused(numbered, options, message):
    with pytest.raises(ClipError, match=f"clip.{message}"):
        open_clip(numbered, **options)


UNREADABLE = "not a readable video"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), UNREADABLE),
        (lambda path: path.write_bytes(b"no video\n" * 200), UNREADABLE),
        (lambda path: path.write_bytes(b"#EXTM3U\n/etc/passwd\n"), UNREADABLE),
        (lambda path: Image.new("RGB", (8, 8)).save(path, format="PNG"), UNREADABLE),
        (lambda path: None, "does not exist"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, make, message):
    make(tmp_path / "a.mp4")
    with pytest.raises(ClipError, match=message):
        open_clip(tmp_path / "a.mp4")
    with pytest.raises(ClipError, match="is a URL"):
        open_clip("https://example.org/a.mp4")


def test_a_file_whose_only_key_frame_is_missing_is_refused(tmp_path):
    whole = write_clip(tmp_path / "whole.mkv", moving(4), g="100", bf="0")
    cut = tmp_path / "cut.mkv"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None and not packet.is_keyframe:
                packet.stream = copied
                target.mux(packet)
    with pytest.raises(ClipError, match="clip.path: 'cut.mkv' has no readable frames"):
        open_clip(cut)


STRAIGHT = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)]
ACROSS = [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]
# Slanted, and of nothing: shown as they are.
OTHERS = [(0.7, 0.7, -0.7, 0.7), (0, 0, 0, 0)]


def turned(frame, a, b, c, d):
    """A frame whose pixel x, y is shown at a x + c y, b x + d y."""
    if (a, b, c, d) in OTHERS:
        return frame
    if b:
        frame = frame.transpose(1, 0, 2)
    return frame[:: b or d, :: a or c]


def say_how_it_is_shown(path, matrix):
    """Write a, b, c and d of the matrix of a file's first track."""
    a, b, c, d = (round(value * 65536) for value in matrix)
    said = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    with path.open("r+b") as file:
        file.seek(file.read().index(b"tkhd") + 4 + 40)
        file.write(said)


@pytest.mark.parametrize("matrix", [*STRAIGHT, *ACROSS, *OTHERS])
def test_a_clip_is_turned_and_mirrored_as_its_file_says(matrix, tmp_path):
    stored = moving(2)
    path = write_clip(tmp_path / "a.mp4", stored, crf="1")
    say_how_it_is_shown(path, matrix)
    clip = open_clip(path)
    expected = turned(stored[1], *matrix)
    assert clip.size == expected.shape[1::-1]
    assert off(clip.read(1, 2)[0], expected).mean() < 8


def test_an_image_on_its_side_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    clip = open_clip(tmp_path)
    assert (clip.size, clip.read(0, 1).shape) == ((4, 6), (1, 6, 4, 3))


def test_an_image_of_16_bits_keeps_its_brightness_and_one_of_32_is_refused(tmp_path):
    ramp = np.linspace(0, 65535, 32 * 48).astype(np.uint16).reshape(32, 48)
    Image.fromarray(ramp).save(tmp_path / "00000.png")
    assert off(open_clip(tmp_path).read(0, 1)[0, ..., 0], ramp // 257).max() <= 1
    Image.fromarray(np.float32(ramp)).save(tmp_path / "00000.tiff")
    with pytest.raises(ClipError, match="'00000.tiff' has neither 8 nor 16 bits a"):
        open_clip(tmp_path).read(1, 2)


def write_images(folder, files):
    """Write pictures, and files that are none."""
    for name, how in files.items():
        if how is None:
            (folder / name).write_bytes(b"x")
            continue
        image = Image.new(how.get("mode", "RGB"), how.get("size", (6, 4)))
        if "alpha" in how:
            image.putalpha(how["alpha"])
        more = [Image.new("RGB", (6, 4), (9, 9, 9))] * (how.get("pictures", 1) - 1)
        several = {"save_all": True, "append_images": more} if more else {}
        image.save(folder / name, **several)
    return folder


@pytest.mark.parametrize(
    ("files", "said"), PARTS["images"].values(), ids=PARTS["images"]
)
def test_what_of_pictures_is_left_out_is_said(tmp_path, files, said):
    warnings = open_clip(write_images(tmp_path, files)).warnings
    assert [said in warning for warning in warnings] == [True] * bool(said)


@pytest.mark.parametrize("said", PARTS["no images"])
def test_folders_without_frames_of_one_size_are_refused(tmp_path, said):
    with pytest.raises(ClipError, match=said):
        open_clip(write_images(tmp_path, PARTS["no images"][said]))


@pytest.mark.parametrize("ending", ["gif", "tga", "avif", "ppm", "jp2", "jfif"])
def test_rare_pictures_are_frames_where_there_are_no_usual_ones(tmp_path, ending):
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    kind = {"jfif": "JPEG"}.get(ending)
    for number, frame in enumerate(flat((40, 200), 32, 24)):
        Image.fromarray(frame).save(tmp_path / f"{number}.{ending}", kind)
    clip = open_clip(tmp_path)
    assert clip.size == (32, 24)
    assert off(clip.read(0, 2)[:, 5, 5, 0], (40, 200)).max() <= 3
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    assert open_clip(tmp_path).size == (6, 4)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pictures_of_a_camera_in_a_video_are_turned_as_their_exif_says(
    tmp_path, orientation
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    corner = Image.new("RGB", (48, 32))
    corner.paste("white", (0, 0, 24, 16))
    stored = io.BytesIO()
    corner.save(stored, "jpeg", exif=exif)
    file = tmp_path / "a.mov"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mjpeg", rate=8)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        stream.codec_context.open()
        packet = av.Packet(stored.getvalue())
        packet.pts = packet.dts = 0
        packet.time_base, packet.stream = Fraction(1, 8), stream
        container.mux(packet)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(stored)))
    (frame,) = open_clip(file).read(0, 1)
    assert frame.shape == expected.shape
    assert off(frame, expected).mean() < 3


@pytest.mark.parametrize("opacity", [255, 90])
def test_a_transparent_video_says_so(tmp_path, opacity):
    frames = np.full((2, 16, 32, 4), opacity, np.uint8)
    path = write_clip(tmp_path / "a.mov", frames, codec="png", pixels="rgba")
    said = " ".join(open_clip(path).warnings)
    assert ("partly transparent" in said) == (opacity < 255)


def test_a_clip_with_alpha_can_be_entered_anywhere(tmp_path):
    frames = flat(range(0, 160, 20), 32, 32)[..., [0, 0, 0, 0]]
    how = {"codec": "libvpx-vp9", "pixels": "yuva420p", "g": "4"}
    clip = open_clip(write_clip(tmp_path / "a.webm", frames, **how))
    assert clip.has_alpha
    for number in (6, 1, 7, 3):
        assert off(clip.read(number, number + 1), 20 * number).mean() < 4


FRAMES = moving(9)
NO_CLIPS = {
    "one frame": FRAMES[0],
    "no frames": FRAMES[:0],
    "real numbers": FRAMES.astype(np.float32),
    "one channel": FRAMES[..., :1],
    "narrow": np.zeros((1, 1, 33, 3), np.uint8),
    "wide": np.zeros((1, 300, 8193, 3), np.uint8),
}


@pytest.mark.parametrize("frames", NO_CLIPS.values(), ids=NO_CLIPS)
def test_arrays_that_are_no_clips_are_refused(frames):
    with pytest.raises(ClipError):
        ArrayClip(frames)


NARROW = [(1, 32), (32, 1), (1, 1)]  # the narrowest there are
RATES = [(fps, (51, 37)) for fps in (8, Fraction(24000, 1001), Fraction(25, 3))]


@pytest.mark.parametrize(("fps", "size"), [*RATES, *((8, size) for size in NARROW)])
def test_lossless_keeps_every_pixel_and_the_rate(tmp_path, fps, size):
    frames = noise(6, *size, 3)
    write_lossless(tmp_path / "a.mkv", ArrayClip(frames, fps))
    clip = open_clip(tmp_path / "a.mkv")
    assert (clip.read(0, 6) == frames).all()
    assert (clip.fps, clip.tags) == (fps, ColorTags())


def test_resize_averages_down_and_is_smooth_up():
    frames = moving(2, 8, 8)
    small = resize(frames, (4, 4))
    assert np.abs(small - frames.reshape(2, 4, 2, 4, 2, 3).mean((2, 4))).max() <= 0.5
    assert resize(frames, (8, 8)) is frames
    assert resize(frames, (12, 20)).shape == (2, 20, 12, 3)


@pytest.mark.parametrize("scale", [0.3, 0.55, 1.0, 1.7, 3.4])
def test_labels_lie_where_the_picture_shows_them(scale):
    """The middle of a region by its labels and by a picture of it, wherever it is."""
    size = (round(80 * scale), round(60 * scale))
    apart = []
    for at in range(20):
        region = np.zeros((60, 80), np.uint8)
        region[at : at + 29, at : at + 37] = 1
        labels = resize_labels(region, size)
        (picture,) = resize(np.repeat(255 * region[None, ..., None], 3, -1), size)
        apart.append(middle(labels) - middle(picture[..., 0]))
    np.testing.assert_allclose(np.mean(apart, 0), 0, atol=0.06)


def middle(weights):
    return (np.indices(weights.shape) * weights).sum((1, 2)) / weights.sum()


def test_a_file_whose_end_is_cut_off_says_so_or_is_refused_where_it_breaks_off(
    tmp_path,
):
    path = tmp_path / "n.mp4"
    write_video(path, noise(60, 64, 64, 3), Fraction(30))
    assert open_clip(path).warnings == []
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    clip = open_clip(path)
    assert 20 < len(clip) < 40
    said = f"'n.mp4' ends early or is damaged: {len(clip)} frames were read."
    assert clip.warnings == [f"{said} Download or export it again."]
    path.write_bytes(content[:-300])
    with pytest.raises(ClipError, match=r"clip.path: 'n.mp4' .* Re-encode it"):
        open_clip(path).read(0, 60)

"""Downloads that broke off: a file of a known form that cannot be read is not one to
convert, and one that ends early says so."""

import av
import numpy as np
import pytest
from made_clips import RATE, moving, samples, write_clip
from PIL import Image

from regrain.editing.errors import ClipError
from regrain.editing.media.reading import open_clip

BEGUN = "(is broken off or damaged|has no readable frames). Download it again"
# By the ending: where it is cut, as a share of the file.
CUT = {
    ".mp4": (0.1, 0.5, 0.9),
    ".mov": (0.1, 0.9),
    ".mkv": (0.02, 0.2),
    ".webm": (0.02, 0.2),
    ".avi": (0.1, 0.4),
}
CODECS = {".webm": "libvpx-vp9", ".avi": "mpeg4"}


@pytest.mark.parametrize("ending", CUT)
def test_a_file_that_was_cut_is_to_be_downloaded_again(ending, tmp_path):
    file = tmp_path / f"mine{ending}"
    write_clip(file, moving(12), codec=CODECS.get(ending, "libx264"))
    data = file.read_bytes()
    for share in CUT[ending]:
        file.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ClipError, match=f"'mine{ending}' {BEGUN}"):
            open_clip(file)


@pytest.mark.parametrize("name", ["a.webp", "a.avif", "a.txt"])
def test_what_is_no_video_is_to_be_converted(name, tmp_path):
    file = tmp_path / name
    if name == "a.txt":
        file.write_text("some ftyp text, which is no video at all\n" * 9)
    else:
        Image.fromarray(moving(1)[0]).save(file)
        file.write_bytes(file.read_bytes()[:90])
    with pytest.raises(ClipError, match="is not a readable video. Convert it to MP4"):
        open_clip(file)


def sounding(seconds):
    """Sound of so many seconds."""
    values = np.zeros((2, round(seconds * RATE)), np.float32)
    return "aac", samples(values, "fltp", "stereo")


# By the ending: how a clip of that form is written.
FORMS = {
    ".mkv": {},
    ".webm": {"codec": "libvpx-vp9"},
    ".ts": {"sound": sounding(2.4)},
    ".avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    ".gif": {"codec": "gif", "pixels": "rgb8"},
    ".apng": {"codec": "apng", "pixels": "rgb24"},
    ".wmv": {"codec": "wmv2"},
    ".mxf": {"codec": "mpeg2video"},
    ".ivf": {"codec": "libvpx-vp9"},
    ".y4m": {"codec": "wrapped_avframe"},
    ".mp4": {"container_options": {"movflags": "+faststart"}},
}


def is_short(path):
    """Whether a clip says that it ends early, and how many frames it has."""
    clip = open_clip(path)
    said = f"'{path.name}' ends early or is damaged: {len(clip)} frames were read."
    return f"{said} Download or export it again." in clip.warnings, len(clip)


@pytest.mark.parametrize("ending", FORMS)
def test_a_clip_that_ends_early_says_so(ending, tmp_path):
    file = write_clip(tmp_path / f"a{ending}", moving(60), **FORMS[ending])
    assert is_short(file) == (False, 60)
    data = file.read_bytes()
    for share in (0.33, 0.52):
        size = round(share * len(data)) // 188 * 188 + 121  # amid a packet of TS
        file.write_bytes(data[:size])
        short, frames = is_short(file)
        assert short
        assert 2 < frames < 55


@pytest.mark.parametrize("ending", [".mkv", ".webm", ".mp4", ".avi"])
def test_whole_clips_do_not_say_that_they_end_early(ending, tmp_path):
    """Whatever they last, and whatever their sound does."""
    way = FORMS[ending]
    file = tmp_path / f"a{ending}"
    # the last picture stands; frames are repeated, which AVI does not store
    times = [*range(0, 400, 40), 1000, 1040]
    for last in (40, 5000):
        write_clip(file, moving(12), **way, stamps=times, last=last)
        assert is_short(file) == (False, 12)
    for seconds in (0.5, 5):
        kind, sound = sounding(seconds)
        kind = "libopus" if ending == ".webm" else kind
        write_clip(file, moving(50), **way, sound=(kind, sound))
        assert is_short(file) == (False, 50)


def test_what_was_sent_as_it_was_made_does_not_say_that_it_ends_early(tmp_path):
    for name, options in {
        "a.mkv": {"live": "1"},
        "a.mp4": {"movflags": "frag_keyframe+empty_moov"},
    }.items():
        sent = write_clip(tmp_path / name, moving(30), container_options=options)
        assert is_short(sent) == (False, 30)
    file = write_clip(tmp_path / "a.avi", moving(9), codec="mpeg4")
    data = file.read_bytes()
    file.write_bytes(data[:4] + b"\xff" * 4 + data[8:])
    assert is_short(file) == (False, 9)


def test_a_hole_after_which_nothing_is_read_is_said(tmp_path):
    """No byte is missing, only what can be read."""
    file = write_clip(tmp_path / "a.mkv", moving(60))
    data = bytearray(file.read_bytes())
    part = slice(int(0.4 * len(data)), int(0.6 * len(data)))
    data[part] = bytes(len(data[part]))
    file.write_bytes(data)
    short, frames = is_short(file)
    assert short
    assert frames < 40


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.avi"])
def test_a_frame_that_is_damaged_is_said_once_it_is_read(name, tmp_path):
    codec = "libx264" if name == "a.ts" else "mpeg4"
    file = write_clip(tmp_path / name, moving(40), codec=codec, bf="0")
    with av.open(str(file)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        packet = bytes(packets[20])
    data = bytearray(file.read_bytes())
    place = data.index(packet) + len(packet) // 2
    part = slice(place, place + len(packet) // 4)
    data[part] = bytes(byte ^ 255 for byte in data[part])
    file.write_bytes(data)
    clip = open_clip(file)
    clip.read(0, 10)
    assert clip.warnings == []
    for _ in range(2):
        clip.read(0, 40)
    (said,) = clip.warnings
    assert said.startswith(f"'{name}' is damaged: some of its frames")

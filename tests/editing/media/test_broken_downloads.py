"""Downloads that broke off: a file of a known form that cannot be read is not one to
convert."""

import pytest
from made_clips import moving, write_clip
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

import errno
import zipfile
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from json_files import read_json
from made_clips import off
from PIL import Image

from regrain.editing import (
    ArrayClip,
    EditRequest,
    EditResult,
    OtherEdit,
    Region,
    RegionAttention,
    open_clip,
)
from regrain.editing.errors import RequestError, ResourceError
from regrain.editing.media.clip import ColorTags
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.writing import AI_EDITED
from regrain.editing.pipeline import outputs
from regrain.editing.pipeline.layers import keep_layers, kept_layers, layers_of
from regrain.editing.pipeline.outputs import (
    FORMATS,
    check_out,
    file_in,
    file_names,
    write_format,
    write_outputs,
)

FRAMES, HEIGHT, WIDTH = 3, 31, 45
RATE = Fraction(24000, 1001)


@pytest.fixture
def request_():
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    labels[:, :, :20], labels[:, :, 30:] = 1, 2
    cat = Region("The cat!", 1, "a fox", color="#ff0000", margin=0)
    clip = ArrayClip(np.full((*labels.shape, 3), 100, np.uint8), RATE)
    return EditRequest(clip, labels, (cat, Region("dog", 2, color="#0000ff")))


@pytest.fixture
def result(request_):
    source = request_.clip.read(0, FRAMES)
    heat = np.zeros((FRAMES, 4, 6), np.float32)
    heat[:, :, :3] = 0.5
    frames = source + np.arange(50, 53, dtype=np.uint8)[:, None, None, None]
    attention = {"The cat!": RegionAttention(before=heat / 2, after=heat)}
    return EditResult(frames, source + 60, source, request_.edited_mask, attention)


@pytest.fixture
def write(request_, result, tmp_path):
    """Writes a result, by default the usual one, and a report; returns the folder."""

    def written(result=result, report=None, out="out", **how):
        write_outputs(result, request_, report or {}, tmp_path / out, **how)
        return tmp_path / out

    return written


def tree(folder):
    """The content of every file."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def seen(path, frames=1):
    return open_clip(path).read(0, frames).astype(int)


def test_a_report_has_plain_numbers_and_an_edit_its_frames(tmp_path, result, write):
    report = {"seconds": np.float32(0.5), "fps": Fraction(3, 2), "warnings": []}
    out = write(result, report, "a/out")
    assert [*(tmp_path / "a").iterdir()] == [out]
    assert read_json(out / "report.json") == report | {"fps": "3/2"}
    assert off(seen(out / "edited.mp4", FRAMES), result.frames).max() <= 2


def test_the_areas_of_a_run_become_a_picture_per_step(request_, result, write):
    request_.clip.times = tuple(map(Fraction, (0, 1, 5)))  # which steps have not
    request_.clip.duration = Fraction(6)
    left = np.zeros((FRAMES, 4, 6), bool)
    left[:, :, :3] = True
    found = replace(result, attention={}, step_areas={5: ~left, 2: left})
    path = write(found) / "attention" / "areas_by_step.mp4"
    assert len(open_clip(path)) == 2
    assert open_clip(path).duration == 2 / RATE
    second, fifth = seen(path, 2)
    for picture, yellow, grey in ((second, 8, 38), (fifth, 38, 8)):
        assert picture.shape[:2] == (HEIGHT, 4 * WIDTH)
        for frame in np.split(picture, 4, 1):
            # yellow where the edit is let through, else grey
            assert frame[15, yellow, 0] - frame[15, yellow, 2] > 30
            assert np.ptp(frame[15, grey]) < 20


def test_an_edit_has_the_colours_of_its_clip(request_, write):
    request_.clip.tags = ColorTags(6, 2, 6, 6)
    assert open_clip(write() / "edited.mp4").tags == request_.clip.tags


def test_attention_before_and_after_has_one_scale(result, write):
    ((name, maps),) = result.attention.items()
    turned = RegionAttention(before=maps.after, after=maps.before)
    usual = tree(write() / "attention")
    found = tree(write(replace(result, attention={name: turned})) / "attention")
    before, after = "the_cat_before.mp4", "the_cat_after.mp4"
    assert found == {before: usual[after], after: usual[before]}


@pytest.mark.parametrize("report", [{(0, 1): "a key"}, {"object": object()}])
def test_a_failure_leaves_nothing_and_keeps_what_was_there(
    tmp_path, result, report, write
):
    wrong = replace(result, frames=result.source)
    with pytest.raises(TypeError):
        write(report=report)
    assert tree(tmp_path) == {}
    write()
    before = tree(tmp_path)
    with pytest.raises(TypeError):
        write(wrong, report)
    assert tree(tmp_path) == before


def test_what_explains_an_edit_never_loses_it(result, write, monkeypatch):
    monkeypatch.setattr(outputs, "heat", lambda *_: 1 / 0)
    report = {"warnings": ["One."], "metrics": {"outside_psnr": float("nan")}}
    out = write(result, report)
    found = read_json(out / "report.json")
    assert found["metrics"] == {"outside_psnr": None}
    one, *said = found["warnings"]
    assert (one, len(said)) == ("One.", 2)
    assert said[0].startswith("There is no attention/the_cat_before.mp4, the edit is")
    names = ["comparison.mp4", "edited.mp4", "masks.mp4", "report.json"]
    assert sorted(tree(out)) == names
    for name, looks in (("edited", 7), ("comparison", 2)):  # x264 says how
        assert b"subme=%d" % looks in (out / f"{name}.mp4").read_bytes()
    assert report["warnings"] == ["One."]

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(outputs, "heat", full)
    with pytest.raises(ResourceError):
        write(result, report)


def test_foreign_content_is_refused_before_any_work(tmp_path):
    report = tmp_path / "report.json"
    for out in (tmp_path / "new" / "deep", tmp_path):
        check_out(out)
    report.write_text("{}")
    check_out(tmp_path)
    (tmp_path / "project.json").write_text("{}")
    for out, said in (
        (tmp_path, ".*'project.json'"),
        (report, ""),
        (report / "below", ""),
    ):
        with pytest.raises(RequestError, match=f"--out: {said}"):
            check_out(out)


def test_file_names_are_safe_and_differ():
    names = ["../x", "a b", "A B", "a_b", "Füße", "", "???"]
    stems = list(file_names(names).values())
    assert stems == ["x", "a_b", "a_b_2", "a_b_3", "füsse", "region", "region_2"]


def test_large_frames_are_shrunk_only_where_they_explain(tmp_path):
    large = np.zeros((1, 60, 1000, 3), np.uint8)
    request = EditRequest(ArrayClip(large), None, (), prompt="a fox")
    wide = EditResult(large, large, large, request.edited_mask, {})
    write_outputs(wide, request, {}, tmp_path)
    assert {file.stem for file in tmp_path.glob("*.mp4")} == {"comparison", "edited"}
    assert open_clip(tmp_path / "edited.mp4").size == (1000, 60)
    with av.open(str(tmp_path / "comparison.mp4")) as container:
        assert container.streams.video[0].width == 1280


def test_of_a_plate_one_video_is_explained_at_a_time(result, write, monkeypatch):
    """Each reads frames of its own, and there are as many at once as cores."""
    at_once = write(result)
    with monkeypatch.context() as change:
        change.setattr(outputs, "each", lambda *_: pytest.fail("together"))
        change.setattr(outputs, "PLATE", 100)
        assert tree(write(result, out="in_turn")) == tree(at_once)


def test_a_long_clip_is_written_a_frame_at_a_time_and_in_the_same_bytes(result, write):
    read = set()

    def lazy(frames):
        def part(start, stop):
            read.add(stop - start)
            return frames[start:stop]

        return LazyFrames(frames.shape, frames.dtype, part)

    names = ("frames", "uncomposited", "source", "edited_mask", "reconstruction")
    given = replace(result, reconstruction=result.source, control=result.source)
    watched = {name: lazy(getattr(given, name)) for name in (*names, "control")}
    by_frame = tree(write(replace(given, **watched)))
    assert read == {1}
    assert by_frame == tree(write(given, out="whole"))


@pytest.fixture
def soft(result):
    """A result of smooth frames whose matte fades over three columns."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    slopes = np.stack([rows * 4, columns * 4, 200 - rows * 3], axis=-1)
    source = np.uint8([slopes] * FRAMES)
    matte = np.zeros(source.shape[:3], np.uint8)
    matte[..., :20] = 255
    matte[..., 20:23] = 191, 128, 64
    lazy = LazyFrames(matte.shape, np.uint8, lambda *part: matte[slice(*part)])
    drawn = {"frames": over(source, 255 - source, matte), "uncomposited": 255 - source}
    return replace(result, source=source, matte=lazy, **drawn)


def over(below, above, alpha):
    """Straight colours over others."""
    share = alpha[..., None] / 255
    return np.rint(share * above + (1 - share) * below).astype(np.uint8)


def pictures(folder):
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.iterdir())])


def decoded(path):
    """RGB as decoders show it, and alpha, of a file with both."""
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == AI_EDITED
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.profile) == ("prores", "4444")
        frames = [*container.decode(video=0)]
    how = {"format": "rgba", "src_colorspace": "ITU709"}
    rgba = np.stack([frame.reformat(**how).to_ndarray() for frame in frames])
    return rgba[..., :3], rgba[..., 3]


def write_kept(soft, request, write, folder):
    """Write each format later, of what was kept without loss."""
    run = write(soft, out="run")
    keep_layers(layers_of(soft, request.clip)[0], folder / "layers")
    layers = kept_layers(folder / "layers", run / "edited.mp4")
    out = folder / "out"
    for name in FORMATS:
        write_format(name, layers, out / file_in(name))
    for name in ("edited_png", "edited_matte"):
        with zipfile.ZipFile(out / f"{name}.zip") as packed:
            assert packed.comment == AI_EDITED.encode()
            packed.extractall(out)
    return out


@pytest.mark.parametrize("kept", [False, True])
def test_layers_come_back_from_their_files(tmp_path, request_, soft, kept, write):
    if not kept:
        write(soft, formats=[*FORMATS])
    out = write_kept(soft, request_, write, tmp_path) if kept else tmp_path / "out"
    matte = soft.matte.read(0, FRAMES)
    outside = matte == 0
    assert outside.any()
    assert np.array_equal(pictures(out / "edited_png"), soft.frames)
    assert np.array_equal(soft.frames[outside], soft.source[outside])
    assert np.array_equal(pictures(out / "edited_matte"), matte)
    with Image.open(out / "edited_png" / "00000.png") as picture:
        assert picture.text["Comment"] == AI_EDITED

    colors, alpha = decoded(out / "edited.mov")
    assert alpha.shape == matte.shape
    assert off(alpha, matte).max() <= 1
    shown = over(soft.source, colors, alpha)
    assert off(shown, soft.frames).mean() < 1.5, "alpha is not straight"
    assert off(shown[outside], soft.source[outside]).max() <= 2
    assert off(colors[outside], soft.source[outside]).mean() < 3


def test_every_edit_is_written_in_each_format_and_earlier_results_are_replaced(
    result, write
):
    others = tuple(
        OtherEdit(f"{n}", result.source + np.uint8(n), result.source) for n in (70, 90)
    )
    more = replace(result, others=others, reconstruction=result.source)
    out = write(more, formats=["png", "prores"])
    names = "edited_2.mp4 edited_3.mp4 edited_2.mov reconstruction.mp4"
    written = {*names.split(), "edited_2_png/00000.png"}
    assert written | {"edited.mp4"} <= set(tree(out))
    assert np.array_equal(pictures(out / "edited_2_png"), others[0].frames)
    assert off(seen(out / "edited_3.mp4", FRAMES), 190).max() <= 2
    assert decoded(out / "edited_2.mov")[1].max() == 255
    (beside,) = seen(out / "comparison.mp4")
    levels = beside[15, 20::WIDTH].mean(1)
    assert np.round(levels, -1).tolist() == [100, 150, 170, 190]
    write()
    assert not written & set(tree(out))
    assert "edited.mp4" in tree(out)
    (out / "edited_png").mkdir()
    (out / "edited_png" / "mine.txt").touch()
    with pytest.raises(RequestError, match="not a result"):
        check_out(out)

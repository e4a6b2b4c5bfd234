"""Whatever a stranger writes into a prompt or an archive: it works or is one line."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from made_clips import black

from regrain.editing import EditingError, EditRequest, RequestError
from regrain.editing.boundary import boundary
from regrain.editing.request.compose import compose
from regrain.editing.request.region import Region, clean
from regrain.ui.session.clips import unpack
from tests.hostile.cases import _check_line

own = [HealthCheck.function_scoped_fixture]
quick = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=own,
)
texts = st.text(st.characters(codec=None), max_size=40)


@contextmanager
def one_line() -> Iterator[None]:
    """What is refused here is refused in one line."""
    line = ""
    try:
        yield
    except EditingError as error:
        line = f"error: {error}"
    assert not line or _check_line(line) == "", line


@quick
@given(texts, texts, texts, texts)
def test_any_words_compose_to_a_prompt_that_can_be_written(source, prompt, now, become):
    regions = [Region("a", 1, clean("prompt", become), clean("source", now))]
    composed = compose(clean("source_prompt", source), clean("prompt", prompt), regions)
    composed.text.encode("utf-8")
    assert composed.text.replace("\n", "").isprintable()
    if span := composed.spans[1]:
        assert 0 <= span[0] <= span[1] <= len(composed.text)
    if regions[0].prompt.strip():
        assert regions[0].prompt.strip().casefold() in composed.text.casefold()


@quick
@given(texts)
def test_words_are_cleaned_once_and_for_all(text):
    cleaned = clean("prompt", text)
    assert clean("prompt", cleaned) == cleaned
    clip = black(1, 64, 64)
    assert EditRequest(clip, None, (), prompt=text).prompt == cleaned


odd = st.sampled_from(
    ["../a", "/a", "a/../../b", "a\\b", "C:\\a", "a/b", "a", "project.json", ""]
)
modes = st.sampled_from([0, 0o100644, 0o120777, 0o010644, 0o040755])


@pytest.mark.filterwarnings("ignore:Duplicate name")
@quick
@given(st.lists(st.tuples(texts | odd, st.binary(max_size=30), modes), max_size=5))
def test_no_archive_leaves_its_folder(tmp_path_factory, entries):
    sink = io.BytesIO()
    root = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data, mode in entries:
            info = zipfile.ZipInfo("x")
            info.filename = f"{name}.png".encode("utf-8", "replace").decode()
            info.external_attr = mode << 16
            archive.writestr(info, data)
    with (
        one_line(),
        boundary("project", "It is damaged. Save it again."),
        zipfile.ZipFile(sink) as archive,
    ):
        unpack(archive, root / "inside")
    assert {entry.name for entry in root.iterdir()} <= {"inside"}
    assert not any(entry.is_symlink() or entry.is_fifo() for entry in root.rglob("*"))


def test_an_archive_is_cut_off_where_it_is_too_large(tmp_path):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.png", "b.png", "c.png"):
            archive.writestr(name, bytes(400))
    with (
        pytest.raises(RequestError, match="unpacks to more"),
        zipfile.ZipFile(sink) as archive,
    ):
        unpack(archive, tmp_path / "inside", most=1000)
    assert not (tmp_path / "inside").exists()

"""Files of a page: apart from others', and gone when they should be."""

import os
import shutil
from pathlib import Path

from regrain.ui.server.media import MAX_AGE, Media


def test_pages_share_no_folder_no_path_holds_their_identity_and_forgetting_removes_it(
    tmp_path,
):
    media = Media(tmp_path)
    one, two = media.new_run("page-one"), media.new_run("page-two")
    assert one.parent != two.parent
    assert "page" not in str(one.relative_to(tmp_path / "pages"))
    media.forget("page-one")
    media.forget("page-one")
    assert (one.parent.exists(), two.exists()) == (False, True)


def test_the_run_on_the_screen_is_kept_until_the_next_but_one(tmp_path):
    media = Media(tmp_path)
    runs = []
    for second in range(3):
        runs.append(media.new_run("page"))
        os.utime(runs[-1], (second, second))
    assert [run.is_dir() for run in runs] == [False, True, True]


def test_sweep_removes_what_is_old_only(tmp_path):
    now = 1e9
    media = Media(tmp_path, clock=lambda: now)
    old, new = media.new_run("old"), media.new_run("new")
    os.utime(old.parent, (now - MAX_AGE - 1,) * 2)
    os.utime(new.parent, (now - MAX_AGE + 1,) * 2)
    media.sweep()
    assert (old.exists(), new.exists()) == (False, True)
    assert media.new_run("old").is_dir()


def test_a_page_that_is_forgotten_meanwhile_disturbs_nobody(tmp_path, monkeypatch):
    media = Media(tmp_path)
    media.new_run("closed")
    gone = next((tmp_path / "pages").iterdir())
    listed = Path.iterdir

    def forgotten(path):
        found = [*listed(path)]
        media.forget("closed") if path == gone.parent else None
        return iter(found)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", forgotten)
        media.sweep()
    assert not gone.exists()
    media.new_run("closing")
    shutil.rmtree(media._folder("closing"))
    media.touch("closing")

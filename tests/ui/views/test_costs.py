"""What a run is said to take, before it is run."""

from dataclasses import replace

import pytest

from regrain.editing.recipe.events import Finished, Progress, WindowStarted
from regrain.editing.request.region import Region
from regrain.ui.views.costs import Costs, left_again

pytestmark = pytest.mark.usefixtures("own_cache")
BOXES = {1: (slice(0, 8), slice(None))}


@pytest.fixture
def asked(open_clip):
    """Asks for runs of clips of so many frames and pixels."""

    def asked(frames=4, side=32, model="storybook", method="sdedit", **params):
        regions = (Region("left", 1, "a fox"),)
        opened = open_clip(
            f"{frames}-{side}",
            (frames, side, side),
            regions,
            BOXES,
            source_prompt="a cat",
        )
        return replace(
            opened.request, model=model, method=method, params={"steps": 8, **params}
        )

    return asked


def report(request, **seconds):
    return {
        "params": {name: {"value": value} for name, value in request.params.items()},
        "seconds": seconds,
    }


def test_the_same_again_takes_what_it_took_and_the_inversion_is_cached(asked):
    costs, run = Costs(), asked(method="videograin")
    assert costs.view(run)["text"].startswith(
        "4 frames, 8 steps. After a first run, this shows"
    )
    costs.note(
        run, report(run, loading=50, tuning=50, inverting=6, editing=12, measuring=2)
    )
    assert costs.view(run)["text"] == "4 frames, 8 steps: about 14 s, here."
    assert costs.about(replace(run, source_prompt="a dog"))[0] == pytest.approx(20)
    assert (
        costs.view(replace(run, params={"steps": 4}))["text"]
        == "4 frames, 4 steps: 7 to 15 s, here."
    )
    assert Costs().told(run) == "about 14 s", "another process forgot it"


def test_an_inversion_of_the_whole_frame_is_none_of_a_box_of_focus(asked):
    costs, run = Costs(), asked(method="videograin", side=256)
    costs.note(run, report(run, inverting=6, editing=12))
    alone = costs.about(replace(run, seed=1))[0]
    boxed = costs.about(replace(run, focus="256x256+0+0"))[0]
    assert (alone, boxed) == (pytest.approx(12), pytest.approx(18))


def test_what_came_from_the_cache_is_promised_so_and_teaches_nothing(asked):
    costs, run = Costs(), asked(8)
    made = report(
        run, loading=5, scanning=1, inverting=6, editing=12, decoding=3, measuring=2
    )
    costs.note(run, made)
    again = left_again(made)
    assert (
        costs.view(run, again)["text"]
        == "8 frames, 8 steps: computed already, about 6 s, here."
    )
    costs.note(run, report(run, decoding=3, measuring=2))
    assert costs.told(replace(run, seed=1)) == "about 18 s"


def test_a_run_that_was_stopped_is_promised_for_what_is_left_of_it(asked):
    costs, run = Costs(), asked(8)
    costs.note(run, report(run, inverting=6, editing=12, decoding=3, measuring=3))
    other = replace(run, source_prompt="a dog")  # what is decoded and measured, in full
    assert costs.about(other, 1 / 3)[0] == pytest.approx(6 + 18 / 3)
    assert (
        costs.view(other, left=1 / 3)["text"]
        == "8 frames, 8 steps: about 12 s for what is left, here."
    )


def test_a_resumed_run_teaches_what_its_share_took(asked):
    costs, run = Costs(), asked(8, window=4)
    rest = [
        WindowStarted(1, 2, 4, 8),
        WindowStarted(2, 2, 4, 4),
        Progress("editing", 1, 8, None),
    ]
    rest.append(Finished(None, report(run, editing=10)))
    assert [*costs.watched(lambda _: (yield from rest))(run)] == rest
    assert costs.about(run)[0] == pytest.approx(20)


def test_work_is_counted_at_the_size_of_the_model_not_of_the_clip(asked):
    costs, run = Costs(), asked()
    costs.note(run, report(run, editing=10))
    for more, low, high in (
        ({"side": 128}, 9, 12),
        ({"frames": 8}, 19, 21),
        ({"steps": 16}, 19, 21),
    ):
        seconds, off, _ = costs.about(asked(**more))
        assert low < seconds < high, more
        assert off == (1 if "side" in more else 1.5)
    assert costs.about(asked(frames=9, keyframes="every 4"))[0] < 10 * 3 / 4 * 1.2


def test_the_nearest_of_earlier_runs_says_most_and_tries_count(asked):
    costs = Costs()
    # a single frame takes more than its share
    for frames, seconds in ((1, 5), (8, 10)):
        costs.note(asked(frames), report(asked(frames), editing=seconds))
    told = [costs.told(asked(frames)) for frames in (1, 2, 8, 16)]
    assert told == ["about 5 s", "7 to 15 s", "about 10 s", "13 to 30 s"]
    assert costs.about(asked(8, method="fatezero"))[1] == 2


def test_what_an_example_took_is_said_to_be_of_another_machine(
    asked, small_folder, monkeypatch
):
    run = asked(side=64)
    costs = Costs([(run, report(run, editing=31) | {"peak_memory": 10**9})])
    assert (
        costs.view(run)["text"]
        == "4 frames, 8 steps: about 31 s on our machine; yours may differ."
    )
    other = asked(side=64, model=str(small_folder))
    assert (
        "at 16 px, about 0.0 GB of memory. After a first run"
        in costs.view(other)["text"]
    )
    costs.note(run, report(run, editing=3))
    assert costs.view(run)["text"] == "4 frames, 8 steps: about 3 s, here."
    assert costs.about(other)[1] == 3, "the speed of this machine is known"
    monkeypatch.setattr(
        "torch.cuda.is_available", lambda: True
    )  # too fast for a small model to tell
    assert costs.about(other) is None


def test_what_was_kept_and_cannot_be_read_is_learnt_anew(asked, tmp_path):
    Costs().note(asked(), report(asked(), editing=10))
    (file,) = (tmp_path / "cache").glob("seconds-*.json")
    file.write_text("[{}]")
    assert Costs().about(asked()) is None

"""What a run is said to take, before it is run."""

from dataclasses import replace
from itertools import product

import pytest
from json_files import read_json
from made_models import write_small_model

from regrain.editing.errors import RequestError
from regrain.editing.params.base import QUALITIES
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.recipe.events import Finished, Progress, WindowStarted
from regrain.editing.request.project import load_project
from regrain.editing.request.region import Region
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.views.cost_view import cost_view
from regrain.ui.work.costs import Costs, left_again

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("own_cache")]
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


def report(request, in_steps=None, **seconds):
    made = {
        "params": {name: {"value": value} for name, value in request.params.items()},
        "seconds": seconds,
    }
    return made | ({"seconds_in_steps": in_steps} if in_steps else {})


def test_the_same_again_takes_what_it_took_and_a_kept_inversion_is_said(asked):
    costs, run = Costs(), asked(method="videograin")
    assert cost_view(costs, run).text.startswith(
        "4 frames, 8 steps. After a first run, this shows"
    )
    # one pass of each frame is of the inversion, three are of the edit
    costs.note(
        run, report(run, loading=50, tuning=50, inverting=5, editing=15, measuring=2)
    )
    assert (
        cost_view(costs, run).text
        == "4 frames, 8 steps: about 17 s, here. The inversion is kept, which saves 5 s."
    )
    assert costs.told(run) == "about 22 s", "a quality is promised from its beginning"
    for changes in ({"source_prompt": "a dog"}, {"size": 64}):
        promise = costs.about(replace(run, **changes))
        assert promise.kept == 0, changes
        assert promise.left == promise.seconds
    half = replace(run, params={"steps": 4})
    assert cost_view(costs, half).text == "4 frames, 4 steps: about 12 s, here."
    assert Costs().told(run) == "about 22 s", "another process forgot it"
    assert not cost_view(costs, run).long
    assert cost_view(costs, replace(run, params={"steps": 24})).long


def test_what_comes_before_the_first_step_is_not_of_the_steps(asked):
    costs, run = Costs(), asked(strength=0.5)
    costs.note(run, report(run, {"editing": 8}, editing=10, decoding=1))
    twice = costs.about(replace(run, params={**run.params, "steps": 16}))
    assert twice.seconds == pytest.approx(16 + 2 + 1)
    assert twice.off == 1


def test_an_inversion_of_the_whole_frame_is_none_of_a_box_of_focus(asked):
    costs, run = Costs(), asked(method="videograin", side=256)
    costs.note(run, report(run, inverting=6, editing=12))
    alone = costs.about(replace(run, seed=1))
    boxed = costs.about(replace(run, focus="128x128+0+0"))
    assert alone.kept > 1
    assert boxed.kept == 0
    # A box that is the whole frame changes nothing.
    assert costs.about(replace(run, focus="256x256+0+0")).kept == alone.kept
    assert alone.seconds == pytest.approx(boxed.seconds)


def test_what_came_from_the_cache_is_promised_so_and_teaches_nothing(asked):
    costs, run = Costs(), asked(8)
    made = report(
        run, loading=5, scanning=1, inverting=6, editing=12, decoding=3, measuring=2
    )
    costs.note(run, made)
    again = left_again(made)
    assert (
        cost_view(costs, run, again).text
        == "8 frames, 8 steps: computed already, about 6 s, here."
    )
    costs.note(run, report(run, decoding=3, measuring=2))
    assert costs.told(replace(run, seed=1)) == "about 24 s"


def test_a_run_that_was_stopped_is_promised_for_what_is_left_of_it(asked):
    costs, run = Costs(), asked(8)
    costs.note(run, report(run, editing=18, decoding=3, measuring=3))
    # what is decoded and measured, in full
    assert costs.about(run, 1 / 3).left == pytest.approx(6 + 18 / 3)
    assert (
        cost_view(costs, run, left=1 / 3).text
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
    assert costs.about(run).seconds == pytest.approx(20)


def test_work_is_counted_at_the_size_of_the_model_not_of_the_clip(asked):
    costs, run = Costs(), asked(strength=0.5)
    costs.note(run, report(run, editing=10))
    for more, low, high in (
        ({"side": 128}, 9, 12),
        ({"frames": 8}, 16, 20),  # a call costs as much as some rows
        ({"steps": 16}, 19, 21),
    ):
        promise = costs.about(asked(strength=0.5, **more))
        assert low < promise.seconds < high, more
        assert promise.off == 1
    assert costs.about(asked(frames=9, keyframes="every 4")).seconds < 10
    assert costs.about(replace(run, size=64)).off == 1.5
    # two anchors in each window of four
    assert costs.about(asked(8, window=4, method="videograin")).seconds > 1.2 * (
        costs.about(asked(8, method="videograin")).seconds
    )


def test_the_last_runs_of_the_method_tell_the_speed_and_not_the_nearest(asked):
    costs = Costs()
    for frames, seconds in ((8, 40), (4, 10), (4, 10)):
        costs.note(asked(frames), report(asked(frames), editing=seconds))
    assert costs.told(asked(4)) == "about 10 s"
    # the run of eight frames was made beside other work
    assert 16 < costs.about(asked(8)).seconds < 20
    assert costs.about(asked(8, method="fatezero")).off == 2


FAMILIES = ("storybook", "small_folder", "tiny_folder", "sdxl_folder", "wan_folder")


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp("models") / "sdxl", sdxl=True)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_better_quality_is_never_promised_in_less_time(
    asked, method, family, request, monkeypatch
):
    """With any run behind one, whatever is kept."""
    monkeypatch.setattr("regrain.ui.work.costs._read", list)
    fixtures = {"storybook": "storybook"}
    model = fixtures.get(family) or str(request.getfixturevalue(family))
    fields = METHODS[method].Params.model_fields
    usual = {name: field.default for name, field in fields.items()}
    inverts = "inversion" in METHODS[method].needs
    states = [{}, *_unlike(method)]
    for (frames, side), given in product(((1, 64), (40, None)), states):
        values = usual | given
        run = replace(
            asked(frames, method=method, model=model), params=values, size=side
        )
        runs = {
            quality: replace(
                run, params=values | METHODS[method].Params.scaled(values, quality)
            )
            for quality in QUALITIES
        }
        for made in runs.values():
            costs = Costs()
            costs.note(made, report(made, inverting=3, editing=11, decoding=2))
            promises = [costs.about(one) for one in runs.values()]
            seconds = [promise.seconds for promise in promises]
            assert seconds == sorted(seconds), (frames, side, given)
            assert len({promise.off for promise in promises}) == 1
            for one, promise in zip(runs.values(), promises, strict=True):
                assert 0 <= promise.kept < promise.seconds
                same = one.params == made.params
                assert bool(promise.kept) == (inverts and same)
            said = "The inversion is kept" in cost_view(costs, made).text
            assert said == inverts


def _unlike(method):
    """States of a method that change its number of passes."""
    fields = METHODS[method].Params.model_fields
    states = (
        {"inversion": "null_text", "inner_steps": 3},
        {"strength": 0.3},
        {"guidance_scale": 1.0},
        {"keyframes": "every 4"},
        {"steps": 3},
        {"redraw": 0.5},
        {"averages": 3},
    )
    for state in states:
        try:
            check_params(method, state)
        except RequestError:
            continue
        yield {name: value for name, value in state.items() if name in fields}


def test_what_an_example_took_is_said_to_be_of_another_machine(
    asked, small_folder, monkeypatch
):
    run = asked(side=64)
    costs = Costs([(run, report(run, editing=31) | {"peak_memory": 10**9})])
    assert (
        cost_view(costs, run).text
        == "4 frames, 8 steps: about 31 s on our machine; yours may differ."
    )
    other = asked(side=64, model=str(small_folder))
    assert (
        "at 16 px, about 0.0 GB of memory. After a first run"
        in cost_view(costs, other).text
    )
    costs.note(run, report(run, editing=3))
    assert cost_view(costs, run).text == "4 frames, 8 steps: about 3 s, here."
    assert costs.about(other).off == 3, "the speed of this machine is known"
    # too fast for a small model to tell
    monkeypatch.setattr("regrain.ui.work.costs.on_gpu", lambda: True)
    assert costs.about(other) is None


def test_what_was_kept_and_cannot_be_read_is_learnt_anew(asked, tmp_path):
    Costs().note(asked(), report(asked(), editing=10))
    (file,) = (tmp_path / "cache").glob("speed-*.json")
    file.write_text("[{}]")
    assert Costs().about(asked()) is None


def test_results_that_ship_were_made_on_a_machine_that_did_nothing_else():
    """A first load promises what their runs took: the one of a busy machine promised
    five times as much."""
    made = []
    for folder in sorted((ASSETS / "examples").iterdir()):
        facts = read_json(folder / "result" / "report.json")
        made.append((load_project(folder), facts))
    taken = Costs(made)._made
    assert len(taken) == len(made)
    # FRESCO, which optimises features, takes twice as long for a pass as InfEdit.
    drawn = [run.network for run in taken if run.method != "fresco"]
    optimised = [run.network for run in taken if run.method == "fresco"]
    for speeds in (drawn, optimised):
        assert max(speeds) < 2 * min(speeds)
    assert max(optimised) < 3 * min(drawn)

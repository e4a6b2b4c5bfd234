"""What is said of a tuning: its loss, what it takes, the models it made."""

import numpy as np
import orjson
import pytest

from regrain.editing.pipeline.beforehand import PlannedTuning
from regrain.ui.views import model_views


def test_the_line_is_the_mean_of_the_last_steps():
    losses = np.array([1.0] * 20 + [0.5] * 20, np.float32)
    shown = model_views.curve(losses, 200)  # a tenth of 200 steps are averaged
    line = dict(map(tuple, shown.line))
    assert (line[1], line[20], line[30], line[40]) == (1.0, 1.0, 0.75, 0.5)
    assert shown.text == "Loss after 40 of 200 steps: 0.5, from 1."
    assert model_views.curve(losses[:7], 200).text == "Loss after 7 of 200 steps: 1."
    assert model_views.curve(losses[:0], 200) is None


def test_a_long_tuning_stays_small_and_keeps_its_ends():
    losses = np.linspace(1, 0, 5000, dtype=np.float32)
    shown = model_views.curve(losses, 5000)
    assert len(orjson.dumps(shown)) < 12_000
    assert (shown.dots[0], shown.dots[-1]) == ([1, 1.0], [5000, 0.0])
    assert (shown.line[0][0], shown.line[-1][0]) == (1, 5000)


def test_the_curve_knows_how_many_steps_there_will_be():
    losses = np.ones(3, np.float32)
    assert model_views.curve(losses, 90).total == 90
    assert model_views.curve(losses, 0).total == 3  # nobody has said
    assert model_views.curve(losses[:0], 90) is None


FIRST = "Tunes the model on this clip first"


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        (PlannedTuning(200, 0, 910_000_000), f"{FIRST}: 200 steps, 0.9 GB here."),
        (PlannedTuning(1), f"{FIRST}: 1 step."),
        (PlannedTuning(200), f"{FIRST}: 200 steps."),
        (
            PlannedTuning(70, 130, 1_000_000),
            "Goes on tuning the model on this clip: 70 more steps, 0.1 GB here.",
        ),
        (PlannedTuning(0, 200, 0), None),  # cached
        (None, None),
    ],
)
def test_what_a_tuning_takes(planned, said):
    view = model_views.takes(planned)
    assert (view and view.text) == said

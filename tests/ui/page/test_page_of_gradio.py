"""Answers of events, as gradio gives them."""

from functools import cache

import anyio
import gradio as gr
import pytest
from gradio.blocks import Blocks
from gradio.state_holder import SessionState

from regrain.ui.page.gradio_insides import Page


@cache
def page_of(kind: type[Blocks]) -> tuple[Blocks, tuple]:
    with kind() as page:
        parts = (
            gr.HTML("", elem_id="words"),
            gr.Number(0, elem_id="count"),
            gr.Button("Run", elem_id="run"),
        )
        page.load(lambda: None, None, [*parts])
    return page, parts


def answered(kind: type[Blocks], answer) -> tuple[list, list[str]]:
    """What an event answers whose function returns this, and which components were made
    anew for it."""
    page, parts = page_of(kind)
    state = SessionState(page)
    data = anyio.run(page.postprocess_data, page.fns[0], answer(*parts), state)
    anew = [
        part.elem_id
        for part in parts
        if state.blocks_config.blocks[part._id] is not part
    ]
    return data, anew


@pytest.mark.parametrize(
    ("answer", "anew"),
    [
        (lambda words, count, run: {words: {"text": "a"}, count: gr.skip()}, []),
        (lambda words, count, run: {run: gr.update(interactive=False)}, ["run"]),
        (
            lambda words, count, run: {count: 2, run: gr.Button("Stop"), words: None},
            ["run"],
        ),
        (lambda words, count, run: {count: gr.skip()}, []),
    ],
)
def test_what_an_answer_leaves_as_it_is_is_not_made_anew(answer, anew):
    told, made = answered(Page, answer)
    assert made == anew
    as_gradio, _ = answered(Blocks, answer)
    for one in filter(lambda one: isinstance(one, dict), as_gradio):
        # of HTML, and nothing that it has
        assert one.pop("props", gr.skip()) == gr.skip()
    assert told == as_gradio


def test_other_answers_are_gradio_s():
    for answer in (lambda *_: ["a", 1, gr.skip()], lambda *_: gr.skip()):
        assert answered(Page, answer)[0] == answered(Blocks, answer)[0]
    with pytest.raises(ValueError, match="not specified as output"):
        answered(Page, lambda *_: {gr.HTML(render=False): "x"})

"""FateZero written out: what every call of the model should be given, and what becomes
of its answers."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from wiring import (
    FINEST,
    GRIDS,
    REFINED,
    SHORT,
    Call,
    Case,
    Layer,
    Row,
    Run,
    answers,
    any_in,
    check_inverting,
    check_latents,
    each,
    exchanged as exchanged_words,
    finest,
    guided,
    marked,
    mass,
    near,
    plain,
    see,
    softmax,
    varied,
)

from regrain.editing.diffusion.schedule import Step

THRESHOLD = 0.8  # of which random models, which look everywhere, are told
AREAS = {
    "blend_latents": "always",
    "blend_self": True,
}
FULL = {"cross_until": 1.0, "self_until": 1.0}
CASE = Case(
    base=SHORT,
    rows={
        "preset": "released",
        "cross_until": 1.0,
        "self_until": 1.0,
        "cross_control": Row("refine", FULL),
        "emphasis": Row(3.0, FULL),
        "emphasis_words": Row("red=3, grass=2", FULL, prompt=REFINED),
        "blend_self": True,
        "blend_latents": "never",
        "blend_words": Row("grass", AREAS, masks=False),
        "edit_words": Row("grass", AREAS, masks=False),
        "keys": "first_previous",
        "keys_levels": "coarse",
        "levels": Row("all", AREAS | FULL, masks=False),
        "inversion_latents": Row("released", AREAS | FULL, masks=False),
        "alignment": Row("original", FULL, prompt=REFINED),
        "joint_norm": True,
    },
    heat={"fox"},
    more={"joint_norm": True},
)


NEW = {
    "a fox on the grass": {"fox": [2]},
    "a red fox on the grass": {"red": [2], "fox": [3]},
}
WORDS = {"cat": [2], "grass": [5]}  # of the source


def check(run: Run) -> None:
    """The whole run, by the formulas of the paper and the parameters given."""
    params = run.params
    convention = "fatezero" if params.inversion_latents == "released" else "paper"
    falling = run.steps
    inverting = run.of("inverting")
    layers = partial(keys_of, run)
    latents = check_inverting(
        run, inverting, run.request.source_prompt, convention, layers
    )
    assert run.result.reconstruction is None
    targets = run.request.targets
    assert [call.step for call in run.of("editing")] == list(falling)
    inside = region_mask(run)
    x = varied(latents[-1], inside, params, run.request.seed).repeat(
        len(targets), 1, 1, 1
    )
    x = check_editing(
        run, latents, [mass(call, call.branch(0)) for call in inverting], x
    )
    check_latents(run, x.split(run.frames))
    check_shown(run, inverting)


def region_mask(run: Run) -> Tensor | None:
    """The regions' masks on the finest grid, where they say what is edited."""
    if not run.request.edited:
        return None
    return any_in(run.request.edited_mask, GRIDS[FINEST])


def check_editing(
    run: Run, latents: list[Tensor], looks: list[Tensor], x: Tensor
) -> Tensor:
    """Every step of the edit; the latents it ends with."""
    params = run.params
    targets = run.request.targets
    count = len(targets)
    cleaner = params.inversion_latents == "released"
    texts = run.model.embed(
        [run.request.source_prompt, run.request.negatives, *targets]
    ).vectors
    own = [torch.zeros(0)] * count
    for call in run.of("editing"):
        step = call.step
        cross, within = windows(run, step)
        first = int(cross or within)
        source = [latents[step.total - step.index - cleaner]] * first
        near(call.x, torch.cat([*source, x, x]), f"x of step {step.index}")
        order = [0] * first + [1] * count + list(range(2, 2 + count))
        assert call.branches == len(order)
        for branch, text in enumerate(order):
            near(call.text(branch), texts[text], f"text of step {step.index}")
        area = min(step.total - step.index - cleaner, len(looks) - 1)
        check_attention(run, call, source_area(run, looks[area]) if first else {})
        halves = [
            [answers(call, first + i + count * half) for i in range(count)]
            for half in (0, 1)
        ]
        ends = zip(*halves, strict=True)
        x = torch.cat([guided(u, c, params.guidance_scale, step) for u, c in ends])
        for i in range(count):
            here = mass(call, call.branch(first + count + i))[None]
            own[i] = torch.cat([own[i], here]) if len(own[i]) else here
        mask = blend_mask(run, step, looks[area], [maps.mean(0) for maps in own])
        if mask is not None:
            known = latents[step.total - 1 - step.index + cleaner].repeat(
                count, 1, 1, 1
            )
            x = mask * x + (1 - mask) * known
        check_areas(run, step, mask, looks[area], within)
    return x


def windows(run: Run, step: Step) -> tuple[bool, bool]:
    """Whether cross- and self-attention are taken over: of N + 1 steps and of N."""
    cross = int((step.total + 1) * run.params.cross_until + 1e-9)
    return step.index < cross, step.index < int(
        step.total * run.params.self_until + 1e-9
    )


# --- The edited area


def marks(run: Run) -> list[int]:
    return [
        token for word in run.params.blend_words or ["cat"] for token in WORDS[word]
    ]


def edit_marks(run: Run, target: str) -> list[int]:
    if run.params.edit_words:
        return [token for word in run.params.edit_words for token in WORDS[word]]
    return [token for tokens in NEW[target].values() for token in tokens]


def source_area(run: Run, looks: Tensor) -> dict[int, Tensor]:
    """Where the words that go look in the source at this level of noise, on every
    grid."""
    if run.request.edited:
        return {
            tokens: any_in(run.request.edited_mask, grid)
            for tokens, grid in GRIDS.items()
        }
    words = looks[..., marks(run)].sum(-1)
    return {tokens: marked(words, grid, THRESHOLD) for tokens, grid in GRIDS.items()}


def blend_mask(
    run: Run, step: Step, looks: Tensor, own: Sequence[Tensor]
) -> Tensor | None:
    """What is kept of the edit after this step; None where all is. Where words of
    either prompt look."""
    params = run.params
    masks = region_mask(run)
    wanted = params.blend_latents == "always" or (
        params.blend_latents == "masks" and masks is not None
    )
    done = step.index + 1
    total = step.total
    after = int(0.2 * total + 1e-9)
    before = int(0.8 * total + 1e-9)
    if not (wanted and after < done < before):
        return None
    if masks is not None:
        return masks.repeat(len(own), 1, 1, 1)
    found = []
    for target, maps in zip(run.request.targets, own, strict=True):
        gained = edit_marks(run, target)
        edit = marked(maps[..., gained].sum(-1), GRIDS[FINEST], THRESHOLD)
        found.append(torch.maximum(source_area(run, looks)[FINEST], edit))
    return torch.cat(found)


def check_areas(
    run: Run, step: Step, mask: Tensor | None, looks: Tensor, within: bool
) -> None:
    """The result tells the area of the first edit, at every step that used one."""
    expected = mask
    if mask is None and run.params.blend_self and within:
        expected = source_area(run, looks)[FINEST]
    if expected is None or region_mask(run) is not None:
        assert step.index not in run.result.step_areas
    else:
        assert (
            run.result.step_areas[step.index] == (expected[: run.frames, 0] > 0).numpy()
        ).all()


# --- Attention


def keys_of(run: Run, layer: Layer) -> str:
    return (
        "own"
        if layer.tokens == finest(run) and run.params.keys_levels == "coarse"
        else run.params.keys
    )


def check_attention(run: Run, call: Call, areas: dict[int, Tensor]) -> None:
    """The source and, by default, the unconditional half are free; the edits take over
    what they should."""
    cross, within = windows(run, call.step)
    first = int(cross or within)
    count = len(run.request.targets)
    edits = range(first + count, first + 2 * count)
    for layer in each(call.layers, "cross"):
        expected = plain(layer.q, layer.k, layer.v)
        if cross and is_taken(run, layer):
            for branch, target in zip(edits, run.request.targets, strict=True):
                rows = call.branch(branch)
                source, edit = (
                    softmax(layer.q[r], layer.k[r]) for r in (slice(run.frames), rows)
                )
                expected[rows] = exchanged(run, source, edit, target) @ layer.v[rows]
        layer.gives(expected)
    for layer in each(call.layers, "self"):
        expected = layer.seeing(keys_of(run, layer))
        if within and is_taken(run, layer):
            for branch in edits:
                rows = call.branch(branch)
                expected[rows] = taken_over(run, layer, rows, areas[layer.tokens])
        layer.gives(expected)


def is_taken(run: Run, layer: Layer) -> bool:
    return run.params.levels == "all" or layer.tokens < finest(run)


def taken_over(run: Run, layer: Layer, rows: slice, area: Tensor) -> Tensor:
    """The source's attention on the edit's values; inside the area, if blended, the
    edit's own."""
    keys = keys_of(run, layer)
    source = see(
        layer.q[: run.frames], layer.k[: run.frames], layer.v[rows], keys, run.frames
    )
    if not run.params.blend_self:
        return source
    inside = area.flatten(2)[..., None]
    return inside * layer.rows(rows).seeing(keys) + (1 - inside) * source


def exchanged(run: Run, source: Tensor, edit: Tensor, target: str) -> Tensor:
    """The exchanged maps, with columns of words multiplied."""
    maps = exchanged_words(run, source, edit, target)
    grass = len(target.split())
    for word, factor in emphasised(run, target).items():
        maps[..., {"grass": [grass], **NEW[target]}[word]] *= factor
    return maps


def emphasised(run: Run, target: str) -> dict[str, float]:
    """The factor of each emphasised word: of all new ones, or of those named."""
    params = run.params
    if not params.emphasis_words:
        return dict.fromkeys(NEW[target], params.emphasis)
    own = dict(params.emphasis_words)
    return {
        word: params.emphasis if factor is None else factor
        for word, factor in own.items()
    }


def check_shown(run: Run, inverting: Sequence[Call]) -> None:
    """Where words look: in the source while it is inverted, in the edit before anything
    is changed."""
    words = run.result.words
    source = torch.stack([mass(call, call.branch(0)) for call in inverting]).mean(0)
    assert set(words.source) == set(WORDS)
    for word, tokens in WORDS.items():
        near(words.source[word], source[..., tokens].sum(-1), word)
    count = len(run.request.targets)
    target = run.request.targets[0]
    calls = run.of("editing")
    edit = torch.stack(
        [mass(call, call.branch(call.branches - count)) for call in calls]
    ).mean(0)
    for word, tokens in NEW[target].items():
        near(words.edit[word], edit[..., tokens].sum(-1), word)
        near(
            run.result.attention[word].before,
            edit[..., tokens].sum(-1),
            word,
        )

"""InfEdit written out: what every call of the model should be given, and what becomes of
its answers.

With regions that have words (the request of most rows) these are bound to them; by a
prompt alone, attention to words is shared as in the paper.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate
from videograin_formulas import (
    as_paper,
    averaged,
    check_readings,
    cross_maps,
    refusal,
    self_maps,
    spliced,
)
from wiring import (
    FINEST,
    GRIDS,
    MODULATED,
    REFINED,
    SHORT,
    Call,
    Case,
    Layer,
    Row,
    Run,
    aligned,
    any_in,
    check_latents,
    each,
    finest,
    gathered,
    has_text,
    near,
    plain,
    softmax,
)

from regrain.editing.diffusion.schedule import Step, generator

WORDS = {
    "blend": "words",
    "edit_words": "fox",
    "keep_words": "grass",
    "edit_threshold": 0.9,
    "keep_threshold": 0.9,
    "self_until": 0.5,
}
CASE = Case(
    base=SHORT | MODULATED | {"guidance_scale": 3.0, "self_until": 0.75},
    rows={
        "preset": Row("add", prompt=REFINED),
        "blend": "never",
        "size_term": Row(False, {"hold": 0.5}),
        "source_guidance": 2.0,
        "hold": 0.25,
        "self_until": 0.0,
        "cross_until": Row(0.25, prompt=REFINED),
        "edit_words": Row("red, grass", WORDS, prompt=REFINED),
        "keep_words": Row("", WORDS, prompt=REFINED),
        "edit_threshold": Row(0.6, WORDS, prompt=REFINED),
        "keep_threshold": Row(0.4, WORDS, prompt=REFINED),
    },
    elsewhere={"flow"},
    heat={"left", "right"},
    more={"redraw": 0.5, "source_guidance": 2.0},
)
TOKENS = {"red": 2, "fox": 3, "grass": 6}  # of "a red fox on the grass"
HALVES = {"source_uncond": "source", "uncond": "cond", "layout_uncond": "layout"}


def check(run: Run) -> None:
    """The whole run, by the formulas of the paper and the parameters given."""
    params = run.params
    clean = run.clean
    steps = levels(run)
    again = round(params.steps * params.redraw)
    calls = run.of("editing")
    asked = [*steps, *steps[len(steps) - again :]]
    assert len(calls) == len(asked)
    x = started(run, clean, steps[0])
    estimate = {}
    kept = Looks()
    area = region_area(run)
    for number, (call, level) in enumerate(zip(calls, asked, strict=True)):
        check_level(run, call.step, level)
        if number == len(steps):
            x = redrawn(run, clean, estimate["cond"], call.step)
        names = branches(run, call.step)
        expected = torch.cat([x[HALVES.get(name, name)] for name in names])
        near(call.x, expected, f"x of step {number}")
        check_texts(run, call, names)
        check_attention(run, call, names)
        kept.add(run, call, names)
        own = guided(run, call, names)
        estimate = {}
        for name, found in own.items():
            if name != "source":
                held = clean + found - own["source"] if holds(run, call.step) else found
                estimate[name] = held
        if area is not None:
            estimate["cond"] = area * estimate["cond"] + (1 - area) * clean
        noise = drawn(run, clean, number + 1)
        for name, one in {"source": clean, **estimate}.items():
            x[name] = call.step.signal_next * one + call.step.noise_next * noise
        if params.blend == "words" and number:
            x["cond"] = blended(run, x, kept, call.step)
    del run.decoded[:-1]  # of the edit before its last steps were taken again
    check_latents(run, [estimate["cond"]])
    check_control(run)
    check_heat(run, calls)


def levels(run: Run) -> list[tuple[int, int]]:
    """The level of each step, and the one that it goes to."""
    origins = [20 * k - 1 for k in range(50, 0, -1)]
    steps = run.params.steps
    falling = [origins[i * 50 // steps] for i in range(steps)]
    pairs = list(zip(falling, [*falling[1:], falling[-1]], strict=True))
    count = int(steps * run.params.strength + 1e-9)
    return pairs[-max(1, count) :]


def check_level(run: Run, step: Step, level: tuple[int, int]) -> None:
    alphas = run.model.schedule.alphas_cumprod
    assert step.t == level[0]
    assert (step.signal, step.noise) == (
        alphas[level[0]] ** 0.5,
        (1 - alphas[level[0]]) ** 0.5,
    )
    assert (step.signal_next, step.noise_next) == (
        alphas[level[1]] ** 0.5,
        (1 - alphas[level[1]]) ** 0.5,
    )


def drawn(run: Run, like: Tensor, *number: int) -> Tensor:
    """Noise of a step, by the seed and its number."""
    fresh = generator(run.request.seed, *number)
    picture = torch.randn(like.shape[1:], generator=fresh).to(like)
    return picture.expand_as(like)


def started(run: Run, clean: Tensor, level: tuple[int, int]) -> dict[str, Tensor]:
    noise = drawn(run, clean, 0)
    if run.params.strength < 1:
        alpha = float(run.model.schedule.alphas_cumprod[level[0]])
        noise = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
    return dict.fromkeys(("source", "cond", "layout"), noise)


def redrawn(run: Run, clean: Tensor, edit: Tensor, step: Step) -> dict[str, Tensor]:
    """The edit averaged along the motion; the same noise for it and for the source."""
    noise = step.noise * drawn(run, clean, 0, 1)
    start = step.signal * clean + noise
    return {
        "source": start,
        "layout": start,
        "cond": step.signal * averaged(run, edit) + noise,
    }


# --- What a step needs


def is_bound(run: Run) -> bool:
    """The regions have words."""
    return bool(run.request.regions)


def keeps_layout(run: Run, step: Step) -> bool:
    return (step.index + 1) / step.total < run.params.self_until - 1e-9


def fuses(run: Run, step: Step) -> bool:
    shared = (step.index + 1) / step.total <= run.params.cross_until + 1e-9
    return shared and not is_bound(run)


def holds(run: Run, step: Step) -> bool:
    return step.index < run.params.hold * step.total - 1e-9


def marks(run: Run) -> bool:
    params = run.params
    return params.blend == "words" and bool(params.edit_words or params.keep_words)


def branches(run: Run, step: Step) -> list[str]:
    params = run.params
    needed = marks(run) or holds(run, step) or keeps_layout(run, step)
    names = ["source"] if needed or fuses(run, step) else []
    names += ["cond", "layout"] if marks(run) else ["cond"]
    scales = [params.guidance_scale, params.source_guidance][: 1 + ("source" in names)]
    if any(scale != 1 for scale in scales):
        names = [half for half, name in HALVES.items() if name in names] + names
    return names


def region_area(run: Run) -> Tensor | None:
    if run.params.blend != "regions" or not run.request.edited:
        return None
    return any_in(run.request.edited_mask, GRIDS[FINEST])


def guided(run: Run, call: Call, names: list[str]) -> dict[str, Tensor]:
    """The estimate of each branch."""
    found = {}
    for half, name in HALVES.items():
        if name not in names:
            continue
        own = call.x0[call.branch(names.index(name))]
        if half in names:
            scale = run.params.source_guidance
            if name == "cond":
                scale = run.params.guidance_scale
            free = call.x0[call.branch(names.index(half))]
            own = free + scale * (own - free)
        found[name] = own
    return found


def target_of(run: Run) -> str:
    return "a panda and a fox on the grass" if is_bound(run) else run.request.prompt


def check_texts(run: Run, call: Call, names: list[str]) -> None:
    embed = run.model.embed
    texts = {
        "source": embed([run.request.source_prompt]).vectors,
        "uncond": embed([run.request.negatives]).vectors,
        "cond": embed([target_of(run)]).vectors,
    }
    if is_bound(run):
        texts["cond"] = spliced(run)[None]
    for place, name in enumerate(names):
        kind = "uncond" if "uncond" in name else name.replace("layout", "source")
        assert has_text(call, place, texts[kind]), name


# --- Attention


def check_attention(run: Run, call: Call, names: list[str]) -> None:
    step = call.step
    for layer in each(call.layers, "cross"):
        parts = split(call, layer, names)
        expected = [words_of(run, step, name, parts) for name in names]
        layer.gives(torch.cat(expected))
    for layer in each(call.layers, "self"):
        parts = split(call, layer, names)
        expected = [within(run, step, name, parts) for name in names]
        layer.gives(torch.cat(expected))


def split(call: Call, layer: Layer, names: list[str]) -> dict[str, Layer]:
    return {name: layer.rows(call.branch(i)) for i, name in enumerate(names)}


def words_of(run: Run, step: Step, name: str, parts: Mapping[str, Layer]) -> Tensor:
    """Cross-attention of one branch."""
    own = parts[name]
    if name == "cond" and is_bound(run):
        return cross_maps(as_paper(run), step, own) @ own.v
    if name == "uncond" and is_bound(run):
        return refusal(run, own)
    if name == "cond" and fuses(run, step):
        return look_aligned(run, parts["source"], own) @ own.v
    return plain(own.q, own.k, own.v)


def look_aligned(run: Run, other: Layer, own: Layer) -> Tensor:
    """Another branch's attention to the words that both prompts have, and to the cat in
    place of the new word that is most like it; the edit's own to the other."""
    theirs, ours = (softmax(layer.q, layer.k) for layer in (other, own))
    found = aligned(run, theirs, ours, target_of(run)).clone()
    given = run.model.embed([run.request.prompt, run.request.source_prompt])
    new, old = (text.vectors[0].double() for text in given)
    likeness = [float(cosine_similarity(new[at], old[2], 0)) for at in (2, 3)]
    found[..., 2 + likeness.index(max(likeness))] = theirs[..., 2]
    return found


def within(run: Run, step: Step, name: str, parts: Mapping[str, Layer]) -> Tensor:
    """Self-attention of one branch: first by queries and keys of the source; then the
    layout sees the source by the edit's queries."""
    own = parts[name]
    end = "_uncond" if "uncond" in name else ""
    q = own.q
    k = own.k
    v = own.v
    edit = parts["uncond" if end else "cond"]
    source = parts.get(f"source{end}")
    keeps = source is not None and keeps_layout(run, step)
    if own is edit and keeps:
        q = source.q
        k = source.k
    if name.startswith("layout"):
        q = source.q if keeps else edit.q
        k = source.k
        v = source.v
    seen = Layer(own.site, q, k, v, own.out, own.frames)
    if name == "cond" and is_bound(run):
        return self_maps(as_paper(run), step, seen) @ gathered(v, "all", run.frames)
    return seen.seeing("all")


# --- Blending by words


class Looks:
    """Where words look in source and layout, over the steps so far."""

    def __init__(self) -> None:
        self.source: list[Tensor] = []
        self.layout: list[Tensor] = []

    def add(self, run: Run, call: Call, names: list[str]) -> None:
        if not marks(run):
            return
        for layer in each(call.layers, "cross"):
            if layer.tokens != finest(run):
                continue
            parts = split(call, layer, names)
            for name, maps in (("source", self.source), ("layout", self.layout)):
                maps.append(look_aligned(run, parts[name], parts["cond"]).mean(1))


def blended(run: Run, x: Mapping[str, Tensor], kept: Looks, step: Step) -> Tensor:
    params = run.params
    found = x["cond"]
    edited = [TOKENS[word] for word in params.edit_words]
    stays = [
        TOKENS[word] for word in params.keep_words if word not in params.edit_words
    ]
    if edited:
        least = max(params.edit_threshold, 0.15 / step.signal)
        found = torch.where(above(run, kept.layout, edited, least), found, x["layout"])
    if stays:
        place = above(run, kept.source, stays, params.keep_threshold)
        found = torch.where(place, x["source"], found)
    both = [TOKENS[word] for word in params.keep_words if word in params.edit_words]
    if both and step.index == step.total - 2:
        place = above(run, kept.layout, both, params.edit_threshold)
        found = torch.where(place, x["layout"], found)
    return found


def above(run: Run, maps: list[Tensor], tokens: list[int], least: float) -> Tensor:
    strongest = torch.stack(maps).mean(0)[..., tokens].amax(-1)
    wide = strongest.unflatten(1, GRIDS[finest(run)])[:, None]
    wide = interpolate(wide, GRIDS[FINEST])
    return wide > least * wide.amax((2, 3), keepdim=True)


# --- What else there is


def check_control(run: Run) -> None:
    prompts = [run.request.source_prompt, run.request.negatives, target_of(run)]
    source, uncond, target = run.model.embed(prompts).vectors

    def texts_of(call: Call) -> Tensor:
        texts = []
        for name in branches(run, call.step):
            kind = target if name == "cond" else source
            texts.append(uncond if "uncond" in name else kind)
        return torch.stack(texts)

    check_readings(run, run.of("editing"), texts_of)


def check_heat(run: Run, calls: list[Call]) -> None:
    """Without regions, where each word of the prompt looks, before it is shared."""
    if is_bound(run):
        assert set(run.result.attention) == {"left", "right"}
        return
    found = []
    for call in calls:
        names = branches(run, call.step)
        for layer in each(call.layers, "cross"):
            if layer.tokens == finest(run):
                own = layer.rows(call.branch(names.index("cond")))
                found.append(softmax(own.q, own.k).mean(1))
    mean = torch.stack(found).mean(0).unflatten(1, GRIDS[finest(run)])
    assert set(run.result.attention) == set(TOKENS)
    for word, token in TOKENS.items():
        maps = run.result.attention[word]
        near(maps.before, mean[..., token], word)
        thirds = {int(3 * call.step.index / call.step.total + 1e-9) for call in calls}
        assert len(maps.parts) == (len(thirds) if len(thirds) > 1 else 0)

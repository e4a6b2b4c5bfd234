"""Scenes of the drawn world: what happens, and its caption."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from storybook import characters, scenery

FPS = 8
KINDS = tuple(characters.BUILDERS)
COLORS = tuple(characters.PAINTS)
ACCESSORIES = ("hat", "sunglasses", "scarf", "backpack")
BACKGROUNDS = tuple(scenery.SCENERY)
STYLES = ("storybook", *scenery.FINISHES)
# Kinds as well as the fast edits draw them, the best first (`benchmarks/README.md`).
_BEST_DRAWN = (
    *("dog", "panda", "pig", "rabbit", "fox", "cat"),
    *("car", "robot", "fairy", "astronaut"),
)

_WEARING = {
    a: "wearing " + ("" if a == "sunglasses" else "a ") + a for a in ACCESSORIES
}
WHERE = {
    "forest": "in the forest",
    "grass": "on the grass",
    "beach": "on the beach",
    "snow": "in the snow",
    "city": "in the city",
    "desert": "in the desert",
    "night": "at night",
    "moon": "on the moon",
}
_VERBS = {"walk": "walks", "run": "runs", "jump": "jumps", "stand": "stands"}
_OFTEN = (0.42, 0.22, 0.18, 0.18)  # how often each of them
# Frame widths in 8 frames.
_TRAVEL = {
    "walk": (0.04, 0.11),
    "run": (0.13, 0.2),
    "jump": (0.02, 0.08),
    "stand": (0.0, 0.0),
}
_ARTICLES = ("a", "another", "a third")
# {0} {1} {2} are the actors in order, {v0} .. what they do, {all} what all do, {at0} ..
# "on the left", {where} the background, {depth} "in front of" or "behind". Places come
# before the noun: a causal text encoder sees no later word.
_TEMPLATES: dict[int, tuple[str, ...]] = {
    1: (
        "{0} {v0} {where}",
        "{where} {0} {v0}",
        "{where} {v0} {0}",
        "{0} {where}",
        "there is {0} {where}",
        "{where} there is {0}",
        "a picture of {0} {where}",
        "a picture of {0} that {v0} {where}",
    ),
    2: (
        "{0} {v0} and {1} {v1} {where}",
        "{where} {0} {v0} and {1} {v1}",
        "{0} {v0} past {1} {where}",
        "{where} {v0} {0} and {v1} {1}",
        "there is {0} and {1} {where}",
        "a picture of {0} and {1} {where}",
        "{0} {v0} {depth} {1} {where}",
        "{where} {0} {v0} {depth} {1}",
        "{at0} {0} {v0} and {at1} {1} {v1} {where}",
        "{where} {at0} {0} {v0} and {at1} {1} {v1}",
        "{at0} {v0} {0} and {at1} {v1} {1} {where}",
        "{where} {at0} {0} and {at1} {1}",
        "{at0} there is {0} and {at1} there is {1} {where}",
        "{0} and {1} {all} {where}",
        "{where} {0} and {1} {all}",
    ),
    3: (
        "{0} {v0} and {1} {v1} and {2} {v2} {where}",
        "{where} {0} {v0} and {1} {v1} and {2} {v2}",
        "there is {0} and {1} and {2} {where}",
        "{at0} {0} and {at1} {1} and {at2} {2} {where}",
        "{where} {at0} {0} and {at1} {1} and {at2} {2}",
        "{0} and {1} and {2} {all} {where}",
    ),
}
_PLACES = {
    1: ("in the middle",),
    2: ("on the left", "on the right"),
    3: ("on the left", "in the middle", "on the right"),
}
_KEEP: Any = object()


@dataclass(frozen=True)
class Actor:
    """A look (kind, color, accessory), and a motion that does not depend on it.

    Attributes:
        kind: One of `KINDS`.
        color: One of `COLORS`, None for the kind's natural colour, or one that no word
            names, #rrggbb.
        accessory: One of `ACCESSORIES`, or None.
        article: "a", or "another" / "a third" if an earlier actor is of the same kind.
        x: Start of the feet, fraction of the width.
        y: Ground line, fraction of the height.
        height: Of the actor, fraction of the frame.
        facing: 1 right, -1 left.
        speed: Widths per frame along `facing`, over the ground.
        phase: Of the step cycle at frame 0, radians.
        motion: "walk", "run", "jump" or "stand".
    """

    kind: str
    color: str | None
    accessory: str | None
    article: str
    x: float
    y: float
    height: float
    facing: int
    speed: float
    phase: float
    motion: str = "walk"

    @property
    def phrase(self) -> str:
        """The actor's own words, as they appear in the caption."""
        words = [self.kind]
        if self.color and not self.color.startswith("#"):
            words.insert(0, self.color)
        if self.accessory:
            words.append(_WEARING[self.accessory])
        rest = " ".join(words)
        vowel = rest[0] in "aeiou"
        article = "an" if self.article == "a" and vowel else self.article
        return f"{article} {rest}"


@dataclass(frozen=True)
class Scene:
    """A short clip before it is drawn. Frozen and JSON-able (`dataclasses.asdict`).

    Attributes:
        pan: Frame widths per frame by which the camera moves to the right.
    """

    seed: int
    frames: int
    actors: tuple[Actor, ...]
    background: str
    style: str
    template: int
    pan: float = 0.0

    @property
    def caption(self) -> str:
        """English in the closed vocabulary; contains every actor's phrase once, in
        actor order."""
        template = _TEMPLATES[len(self.actors)][self.template]
        phrases = [actor.phrase for actor in self.actors]
        words = _caption_words(self.actors)
        where = WHERE[self.background]
        text = template.format(*phrases, where=where, **words)
        if self.style != "storybook":
            text += f" in {self.style}"
        return text


def _caption_words(cast: Sequence[Actor]) -> dict[str, str]:
    """Return the words about actors that templates of captions ask for, by their
    names there."""
    count = len(cast)
    words = {"all": cast[0].motion}
    for i, actor in enumerate(cast):
        words[f"v{i}"] = _VERBS[actor.motion]
    from_left = sorted(range(count), key=lambda i: cast[i].x)
    for i, place in zip(from_left, _PLACES[count], strict=True):
        words[f"at{i}"] = place
    if count == 2:
        in_front = cast[0].y > cast[1].y
        words["depth"] = "in front of" if in_front else "behind"
    return words


def from_dict(facts: dict[str, Any]) -> Scene:
    """Return the scene that `dataclasses.asdict` turned into `facts`."""
    actors = tuple(Actor(**actor) for actor in facts["actors"])
    return Scene(**(facts | {"actors": actors}))


def _named(actors: Sequence[Actor]) -> tuple[Actor, ...]:
    """Give every actor the article that keeps its phrase unique."""
    named = []
    seen = Counter[str]()
    for actor in actors:
        article = _ARTICLES[seen[actor.kind]]
        named.append(dataclasses.replace(actor, article=article))
        seen[actor.kind] += 1
    return tuple(named)


def sample_scene(
    seed: int, frames: int = 8, actors: int = 2, *, plain: bool = False
) -> Scene:
    """Draw a random scene; the same arguments always give the same scene.

    Args:
        seed: Any non-negative integer.
        frames: Length in frames, at 8 frames per second.
        actors: 1 to 3, of different kinds; each covers at least 2 % of every frame.
        plain: Natural colours, no accessories, storybook style, everyone walks (for
            examples and tests).
    Raises:
        ValueError: `actors` or `frames` out of range.
    """
    if not 1 <= actors <= 3 or frames < 1:
        raise ValueError(
            f"actors must be 1 to 3 and frames at least 1, got {actors} and {frames}"
        )
    # the second world; the first was smaller
    rng = np.random.default_rng([seed, actors, 2])
    pan = 0.0
    crossing = False
    if not plain:
        pan, crossing = _sample_event(rng, actors)
    kinds = rng.permutation(KINDS)[:actors]
    looks = [_sample_look(rng, kind, plain) for kind in kinds]
    slots = rng.permutation(_SLOTS[actors])
    behind = seed & 1  # of two who cross
    cast = []
    for i, (look, slot) in enumerate(zip(looks, slots, strict=True)):
        does = "walk" if plain else str(rng.choice([*_VERBS], p=_OFTEN))
        way = _sample_way(rng, actors, does, pan)
        if crossing:
            way = _sample_crossing(rng, does, slot, i == behind)
            slot = 0.5
        actor = _sample_actor(rng, look, way, slot, pan, frames)
        cast.append(actor)

    style = "storybook" if plain else _sample_style(rng)
    background = str(rng.choice(BACKGROUNDS))
    template = _plain_template(actors)
    if not plain:
        template = _sample_template(rng, cast, crossing)
    return Scene(
        seed,
        frames,
        _named(cast),
        background,
        style,
        template,
        pan=pan / _span(frames),
    )


def shrink(scene: Scene, height: float) -> Scene:
    """Return a scene of one actor with that actor smaller.

    The actor walks more slowly in proportion, and is where it was in the middle of the
    clip.

    Args:
        scene: The scene.
        height: Of the actor, fraction of the frame.
    """
    (actor,) = scene.actors
    speed = actor.speed * height / actor.height
    half = (scene.frames - 1) / 2
    middle = actor.x + actor.facing * actor.speed * half
    start = middle - actor.facing * speed * half
    small = dataclasses.replace(actor, height=height, speed=speed, x=start)
    return dataclasses.replace(scene, actors=(small,))


def _sample_style(rng: np.random.Generator) -> str:
    """Draw a style; most scenes are in the storybook's."""
    if rng.random() < 0.78:
        return "storybook"
    return str(rng.choice(STYLES[1:]))


# Where actors stand, fractions of the width.
_SLOTS = {1: [0.5], 2: [0.27, 0.73], 3: [0.18, 0.5, 0.82]}


def _span(frames: int) -> int:
    """Return the number of steps over which a camera or an actor moves by the sampled
    amount."""
    return max(frames - 1, 7)


def _sample_event(rng: np.random.Generator, actors: int) -> tuple[float, bool]:
    """Return how far the camera moves, in frame widths, and whether two actors cross
    each other."""
    most = 0.2 if actors < 3 else 0.1
    pan = rng.uniform(0.06, most) * rng.choice([-1, 1])
    pan *= rng.random() < 0.2  # mostly, the camera stands still
    crossing = actors == 2 and not pan and rng.random() < 0.15
    return float(pan), bool(crossing)


class _Way(NamedTuple):
    """How an actor moves: fields as in `Actor`, but `travel` is in frame widths over
    the clip."""

    motion: str
    y: float
    height: float
    facing: int
    travel: float


def _sample_way(rng: np.random.Generator, actors: int, does: str, pan: float) -> _Way:
    """Draw the way of an actor, who goes where the camera goes."""
    height, ground = _sample_stand(rng, actors, does)
    facing = int(rng.choice([-1, 1]))
    travel = rng.uniform(*_TRAVEL[does])
    if actors == 3:
        travel *= 0.7
    if pan:
        facing = 1 if pan > 0 else -1
    return _Way(does, ground, height, facing, travel)


def _sample_crossing(
    rng: np.random.Generator, does: str, slot: float, tall: bool
) -> _Way:
    """Draw the way of one of two actors who cross each other in the middle.

    The one behind is taller and higher up, so that the one in front never hides it.
    """
    if does not in ("walk", "run"):
        does = "walk"
    travel = rng.uniform(0.4, 0.55)
    height, ground = (0.46, 0.75) if tall else (0.36, 0.94)
    height += rng.uniform(0, 0.04)
    ground += rng.uniform(-0.02, 0.02)
    facing = 1 if slot < 0.5 else -1
    return _Way(does, ground, height, facing, travel)


_Look = tuple[str, str | None, str | None]  # kind, colour, accessory


def _sample_actor(
    rng: np.random.Generator,
    look: _Look,
    way: _Way,
    middle: float,
    pan: float,
    frames: int,
) -> Actor:
    """Draw an actor who is near `middle` half-way through the clip."""
    kind, color, accessory = look
    span = _span(frames)
    drift = (way.facing * way.travel - pan) * (frames - 1) / span
    x = middle + rng.uniform(-0.04, 0.04) - drift / 2
    return Actor(
        kind,
        color,
        accessory,
        article="a",
        x=float(x),
        y=float(way.y),
        height=float(way.height),
        facing=way.facing,
        speed=float(way.travel / span),
        phase=float(rng.uniform(0, 2 * np.pi)),
        motion=way.motion,
    )


def _sample_look(rng: np.random.Generator, kind: str, plain: bool) -> _Look:
    color = accessory = None
    if rng.random() < 0.45 and not plain:
        color = str(rng.choice(COLORS))
    if rng.random() < 0.33 and not plain:
        accessory = str(rng.choice(ACCESSORIES))
    return str(kind), color, accessory


def _sample_stand(
    rng: np.random.Generator, actors: int, does: str
) -> tuple[float, float]:
    """Draw height and ground line; actors that jump are smaller and nearer, to stay in
    the picture."""
    low, high = {1: (0.46, 0.66), 2: (0.38, 0.50), 3: (0.29, 0.35)}[actors]
    if does == "jump":
        return rng.uniform(low, 0.6 * low + 0.4 * high), rng.uniform(0.88, 0.95)
    return rng.uniform(low, high), rng.uniform(0.80, 0.95)


def _plain_template(actors: int) -> int:
    """Return the number of the first caption that says what all do at once, 0 if there
    is none."""
    for number, template in enumerate(_TEMPLATES[actors]):
        if "{all}" in template:
            return number
    return 0


def _sample_template(
    rng: np.random.Generator, cast: list[Actor], crossing: bool
) -> int:
    """Draw a caption that is true in every frame; most captions say left and right if
    that is true."""
    templates = _TEMPLATES[len(cast)]
    placed = [i for i, template in enumerate(templates) if "{at" in template]
    if placed and not crossing and rng.random() < 0.65:
        return int(rng.choice(placed))
    untrue = _untrue_words(cast)
    possible = []
    for i, template in enumerate(templates):
        if not any(word in template for word in untrue):
            possible.append(i)
    return int(rng.choice(possible))


def _untrue_words(cast: list[Actor]) -> list[str]:
    """Return what a caption of these actors must not hold where it does not place
    them."""
    untrue = ["{at"]
    if abs(cast[0].y - cast[-1].y) < 0.05:
        untrue.append("{depth}")
    if cast[0].motion == "stand":
        untrue.append("past")
    motions = {actor.motion for actor in cast}
    if len(cast) == 1 or len(motions) > 1:
        untrue.append("{all}")
    return untrue


def replace(
    scene: Scene,
    actor: int | None = None,
    *,
    kind: str = _KEEP,
    color: str | None = _KEEP,
    accessory: str | None = _KEEP,
    background: str = _KEEP,
    style: str = _KEEP,
) -> Scene:
    """Return a scene of the same motion with another look: the true result of an edit.

    Arguments left out do not change; `color=None` means the kind's natural colour,
    `accessory=None` none.

    Raises:
        ValueError: A word the world does not know, or a look given without `actor`.
    """
    look = _given(kind=kind, color=color, accessory=accessory)
    place = _given(background=background, style=style)
    _check_known(look | place)
    cast = list(scene.actors)
    if look:
        if actor is None or not 0 <= actor < len(cast):
            raise ValueError(f"actor: {actor} is not one of 0 to {len(cast) - 1}")
        cast[actor] = dataclasses.replace(cast[actor], **look)
    return dataclasses.replace(scene, actors=_named(cast), **place)


_KNOWN: dict[str, tuple[str | None, ...]] = {
    "kind": KINDS,
    "color": (*COLORS, None),
    "accessory": (*ACCESSORIES, None),
    "background": BACKGROUNDS,
    "style": STYLES,
}


def _check_known(words: Mapping[str, Any]) -> None:
    for name, value in words.items():
        if value not in _KNOWN[name]:
            known = ", ".join(map(str, _KNOWN[name]))
            raise ValueError(f"{name}: {value!r} is not one of {known}")


def _given(**values: Any) -> dict[str, Any]:
    """Return the arguments that were not left out."""
    return {name: value for name, value in values.items() if value is not _KEEP}


def vocabulary() -> tuple[str, ...]:
    """Return every word a caption can hold, sorted."""
    phrases = [
        *_ARTICLES,
        *COLORS,
        *KINDS,
        *_WEARING.values(),
        *WHERE.values(),
        *STYLES[1:],
    ]
    phrases += ["in", "an", "in front of", "behind"]
    phrases += [*_VERBS, *_VERBS.values()]
    for places in _PLACES.values():
        phrases += places
    for templates in _TEMPLATES.values():
        phrases += [re.sub(r"{\w+}", " ", template) for template in templates]
    return tuple(sorted(_words(phrases)))


def _words(phrases: Iterable[str]) -> set[str]:
    return {word for phrase in phrases for word in phrase.split()}


def vocabulary_groups() -> dict[str, tuple[str, ...]]:
    """Return the vocabulary by use: words and phrases as captions have them, each word
    at least once, and the best drawn kind first."""
    groups = {
        "Kinds": _BEST_DRAWN,
        "Colours": COLORS,
        "Wearing": tuple(_WEARING[accessory] for accessory in ACCESSORIES),
        "Motions": tuple(form for verb in _VERBS.items() for form in verb),
        "Places": tuple(WHERE[background] for background in BACKGROUNDS),
        "Styles": STYLES[1:],
    }
    named = _words(phrase for phrases in groups.values() for phrase in phrases)
    others = tuple(word for word in vocabulary() if word not in named)
    return groups | {"Other words": others}

"""What the fields of a page say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from regrain.editing.models.files.location import BUILT_IN_MODEL

Values = Mapping[str, object]
OF_CLIP = ("keyframes", "cuts")
"""Parameters that tell about the clip, whatever the method."""


@dataclass(frozen=True)
class Fields:
    """What the fields of a page say; each value may be anything, as browsers send it."""

    model: object = BUILT_IN_MODEL
    added: object = None  # to the model; None until the page has said
    seed: object = 0
    prediction: object = ""  # what the model is said to predict
    variants: object = 1  # how many seeds a press of Run tries
    # By method, the parameters that differ from those of a run with nothing given
    given: Mapping[str, Values] = field(default_factory=dict)
    turn: object = None  # how often something was chosen or typed on the page

    @property
    def names(self) -> list[str]:
        """The names of what is added, with their weights; none of what no page sends."""
        return (
            [str(name) for name in self.added] if isinstance(self.added, list) else []
        )

    def giving(self, method: str, given: Values) -> Fields:
        """Return the same fields with other parameters of a method."""
        return replace(self, given={**self.given, method: given})

    def on_clip(self, method: str, values: Values) -> Fields:
        """Return the same fields with those parameters of a method that tell about the
        clip as other values have them."""
        kept = self.given.get(method, {}).items()
        given = {name: value for name, value in kept if name not in OF_CLIP}
        given |= {name: values[name] for name in OF_CLIP if name in values}
        return self.giving(method, given)

    def content(self) -> dict[str, object]:
        """Return what a project keeps: the turn ends with the page."""
        return {name: value for name, value in vars(self).items() if name != "turn"}

    @classmethod
    def of(cls, model: object, added: object, settings: object) -> Fields:
        """Read what the components say from which the page sends its fields."""
        said = settings if isinstance(settings, dict) else {}
        return cls.kept({**said, "model": model, "added": added})

    @classmethod
    def kept(cls, content: object) -> Fields:
        """Read what `content` returned; what is missing has its default."""
        said = content if isinstance(content, dict) else {}
        names = cls.__dataclass_fields__
        taken = {name: value for name, value in said.items() if name in names}
        given = taken.get("given")
        methods = given if isinstance(given, dict) else {}
        taken["given"] = {
            method: values
            for method, values in methods.items()
            if isinstance(values, dict)
        }
        return cls(**taken)

"""A model with an adapter: the same weights, shared with everyone, and the changes of
each call."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from regrain.editing.diffusion.schedule import Step
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.adapters import Adapter
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import PLAIN, Intervention
from regrain.editing.models.unet.temporal import with_weights


def tuned(backbone: Backbone, adapter: Adapter) -> Backbone:
    """Return a view of a model whose every call uses an adapter, known to fit; the
    model is unchanged."""
    return cast("Backbone", _Tuned(backbone, adapter))


class View:
    """A model seen through another; attributes that a subclass does not define are the
    model's."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_backbone"], name)

    def extend(self, change: Intervention, frames: int) -> Intervention:
        """Extend the change of a call, for so many frames per branch."""
        return change

    def predict(
        self,
        x: Tensor,
        step: Step,
        text: PromptEmbedding,
        change: Intervention = PLAIN,
        *,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Predict (x0, eps) with the view's extension of a change."""
        frames = len(x) // len(text)  # a text per branch
        change = self.extend(change, frames)
        return self._backbone.predict(x, step, text, change, recompute=recompute)


# From Python 3.12 on, `isinstance` against a protocol asks `__getattr__` no more.
Backbone.register(View)


class _Tuned(View):
    def __init__(self, backbone: Backbone, adapter: Adapter) -> None:
        super().__init__(backbone)
        self._facts = adapter.facts
        place = (backbone.device, backbone.dtype)
        self._weights = {
            name: weight.to(*place) for name, weight in adapter.weights.items()
        }
        self.fingerprint = adapter.digest(backbone.fingerprint)

    def extend(self, change: Intervention, frames: int) -> Intervention:
        """See `View.extend`."""
        return with_weights(change, self._weights, frames)

"""From a clip's latents to the noise that would have made them."""

from collections.abc import Callable, Iterator, Sequence

from jaxtyping import Float
from torch import Tensor

from editing.diffusion import Step, advance

Predict = Callable[[Tensor, Step], tuple[Tensor, Tensor]]
"""(x, step) -> (x0, eps): all that inversion needs of a model."""


def ddim_invert(
    latents: Float[Tensor, "*shape"], predict: Predict, steps: Sequence[Step]
) -> Iterator[tuple[Step, Float[Tensor, "*shape"]]]:
    """Walk clean latents up to noise, deterministically.

    Yields after every step: the step and the latents it led to. With `latents` in front these are the N + 1
    latents an edit may look back at; `Schedule.inversion` says at which level each one is.

    Args:
        latents: Clean latents.
        predict: The model, without guidance.
        steps: From `Schedule.inversion`.
    Source: Song et al., arXiv:2010.02502, Sec. 4.3.
    """
    for step in steps:
        x0, eps = predict(latents, step)
        latents = advance(x0, eps, step)
        yield step, latents

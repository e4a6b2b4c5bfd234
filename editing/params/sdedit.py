"""Parameters of SDEdit."""

from regrain.editing.params.base import SampledParams, WindowedParams
from regrain.editing.params.written import BLEND, parameter


class SDEditParams(SampledParams, WindowedParams):
    """SDEdit: noise, then denoise (Meng et al. 2022, arXiv:2108.01073)."""

    steps: int = parameter(
        50,
        "Steps",
        "Steps of the whole schedule, of which `strength` skips some; with samplers for few steps, steps "
        "that are run.",
        (1, 1000),
        group="First",
        reach=100,
    )
    blend: bool = BLEND

"""Parameters of SDEdit."""

from regrain.editing.params.base import SampledParams, WindowedParams, steps
from regrain.editing.params.written import BLEND


class SDEditParams(SampledParams, WindowedParams):
    """SDEdit: noise, then denoise (Meng et al. 2022, arXiv:2108.01073)."""

    steps: int = steps(
        50,
        description="Steps of the whole schedule, of which `strength` skips some; with samplers for few "
        "steps, steps that are run.",
    )
    blend: bool = BLEND

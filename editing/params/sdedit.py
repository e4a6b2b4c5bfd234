"""Parameters of SDEdit."""

from pydantic import Field

from regrain.editing.params.base import WindowedParams


class SDEditParams(WindowedParams):
    """SDEdit: noise, then denoise (Meng et al. 2022, arXiv:2108.01073)."""

    strength: float = Field(
        0.6, title="Strength", ge=0, le=1, description="Share of the schedule to run; 0 keeps the clip."
    )
    blend: bool = Field(
        True, title="Keep latents outside", description="Keep the source's latents outside the regions."
    )

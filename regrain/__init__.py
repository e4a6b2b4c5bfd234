"""Edit a video region by region, each region with its own words.

Offers the public names of `regrain.editing` and `regrain.masks`, and others that
programs need. Names are loaded when first used: importing this package loads no torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from regrain.public import public

__version__ = "0.2.0"

if not (Path(__file__).parent / "editing").is_dir():
    # A wheel has the packages inside, a checkout has links to them; some systems have
    # no links.
    __path__.append(str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from regrain.editing import *  # noqa: F403
    from regrain.editing.attention import layers as attention  # noqa: F401
    from regrain.editing.attention.regions import (
        modulated_attention as modulated_attention,
    )
    from regrain.editing.media.writing import write_video as write_video
    from regrain.editing.params.registry import METHODS as METHODS, Method as Method
    from regrain.editing.pipeline.metrics import measure as measure
    from regrain.editing.pipeline.outputs import write_outputs as write_outputs
    from regrain.masks import *  # noqa: F403

__getattr__, __dir__ = public(__name__, __file__)

"""Edit a video region by region, each region with its own words.

Names are loaded when first used: importing this package loads no torch.
"""

from typing import TYPE_CHECKING

from regrain.public import public

if TYPE_CHECKING:
    from regrain.editing.attention.averages import (
        RegionAttention as RegionAttention,
        WordAttention as WordAttention,
    )
    from regrain.editing.errors import (
        ClipError as ClipError,
        DivergedError as DivergedError,
        EditingError as EditingError,
        MaskError as MaskError,
        ModelError as ModelError,
        PromptError as PromptError,
        RequestError as RequestError,
        ResourceError as ResourceError,
    )
    from regrain.editing.media.clip import ArrayClip as ArrayClip, Clip as Clip
    from regrain.editing.media.reading import open_clip as open_clip
    from regrain.editing.models.adapters import (
        Adapter as Adapter,
        load_adapter as load_adapter,
        save_adapter as save_adapter,
    )
    from regrain.editing.models.loading.load import load_backbone as load_backbone
    from regrain.editing.pipeline.runner import edit as edit, tune as tune
    from regrain.editing.recipe.events import (
        EditResult as EditResult,
        Event as Event,
        Finished as Finished,
        Losses as Losses,
        OtherEdit as OtherEdit,
        Preview as Preview,
        Progress as Progress,
        Stage as Stage,
        Tuned as Tuned,
    )
    from regrain.editing.request.edit_request import EditRequest as EditRequest
    from regrain.editing.request.project import (
        load_project as load_project,
        save_project as save_project,
    )
    from regrain.editing.request.region import Region as Region

__getattr__, __dir__ = public(__name__, __file__)

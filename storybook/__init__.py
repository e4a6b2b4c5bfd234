"""The drawn world and its training scripts. Nothing at run time imports this
package."""

from storybook.rendering import Rendered, render  # noqa: F401
from storybook.world import (  # noqa: F401
    ACCESSORIES,
    BACKGROUNDS,
    COLORS,
    KINDS,
    STYLES,
    Actor,
    Scene,
    replace,
    sample_scene,
    shrink,
)

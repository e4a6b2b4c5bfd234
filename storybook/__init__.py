"""The drawn world and its training scripts. Nothing at run time imports this
package."""

from storybook.world import (  # noqa: F401
    ACCESSORIES,
    BACKGROUNDS,
    COLORS,
    KINDS,
    STYLES,
    Actor,
    Rendered,
    Scene,
    render,
    replace,
    sample_scene,
    shrink,
)

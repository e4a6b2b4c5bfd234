"""The packages of the product: their rooms, what each may import, and their modules."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


# Rooms of each package, bottom first; a room may import those before it, and the
# package's root any of them. The root's own modules (`errors`, `boundary`, `draw`) are
# below all rooms, `__main__` above.
ROOMS = {
    "editing": (
        "storage",
        "media",
        "params",
        "motion",
        "diffusion",
        "attention",
        "models.files",
        "models.weights",
        "models",
        "models.unet",
        "models.wan",
        "models.pictures",
        "models.loading",
        "request",
        "recipe",
        "methods",
        "verdict",
        "pipeline",
        "cli",
    ),
    "masks": ("models", "io", "segmentation", "track"),
    "ui": ("server", "values", "session", "work", "views", "handlers", "api", "page"),
}


# What masks may use of editing; what each package may never import.
FOR_MASKS = (
    "editing.storage",
    "editing.media",
    "editing.motion",
    "editing.errors",
    "editing.boundary",
    "editing.cli.commands",
    "editing.recipe.events",
)


NEVER = {
    "editing": ("masks", "ui", "app", "gradio", "storybook"),
    "masks": ("ui", "app", "gradio", "storybook"),
    "ui": ("app", "storybook", "editing.__main__", "masks.__main__"),
    "storybook": ("app", "ui", "gradio"),
}


OURS = tuple(ROOMS)


def module_paths() -> dict[str, Path]:
    """File of each module of the packages, by its name without `regrain.`."""
    paths = {}
    for package in NEVER:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


def module_names() -> list[str]:
    """Names of the modules of the three packages, without `regrain.`."""
    return [name for name in PATHS if name.split(".")[0] in ROOMS]


PATHS = module_paths()

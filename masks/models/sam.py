"""SAM: frames and prompts in, masks out. Torch is imported when a network is first
used."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from regrain.editing.boundary import AnyPath, boundary, check_regular
from regrain.editing.errors import ModelError, shorten
from regrain.editing.media.lazy_frames import Mask, Rgb
from regrain.editing.storage.devices import choose_device
from regrain.editing.storage.local_models import ASSETS, find_local
from regrain.editing.storage.ready import check_finite
from regrain.editing.storage.safetensors_files import LOADING, state_of
from regrain.editing.storage.threads import alone
from regrain.masks.models.embedded import (
    TRUSTED,
    WHOLE,
    Doubt,
    Embedded,
    Prompts,
    as_logits,
    choose,
    encoded_frames,
)
from regrain.masks.models.single_files import FILE, first_size

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

BUILT_IN_SAM = ASSETS / "storybook" / "sam"
# Published checkpoints by SHA-256: size, file, bytes. Every other pickle could run code.
PUBLISHED = {
    "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912": (
        "vit_b",
        "sam_vit_b_01ec64.pth",
        375_042_383,
    ),
    "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622": (
        "vit_l",
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
    ),
    "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e": (
        "vit_h",
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
    ),
}
_FILES = " or ".join(file for _, file, _ in PUBLISHED.values())


def embed(image: Rgb, model: AnyPath | None = None) -> Embedded:
    """Encode a frame with a first SAM; see `segmentation.click.embed`."""
    name = str(model or BUILT_IN_SAM)
    return _frames.get(image, name, lambda: _encode(image, name))


_frames = encoded_frames()


def _encode(image: np.ndarray, name: str) -> Embedded:
    from segment_anything import SamPredictor

    predictor: Any = SamPredictor(load_sam(name))
    predictor.set_image(image)
    return Embedded(image, name, predictor.features, predictor.input_size)


def missing() -> str | None:
    """Return a warning for the user if the built-in SAM weights are missing, else
    None."""
    if (BUILT_IN_SAM / "model.safetensors").is_file():
        return None
    return "SAM weights are missing. Masks are found by cuts and may need more clicks."


def predict(
    sam: Sam,
    frame: Embedded,
    prompts: Prompts,
    index: int | None,
    doubt: Doubt,
) -> Mask:
    """Predict a mask with SAM; arguments as in `segment`, which checks them."""
    predictor = _predictor(sam, frame)
    points, labels, box, previous, _ = prompts
    several = index is not None or prompts.is_first
    masks, quality, _ = predictor.predict(
        points if len(points) else None,
        labels if len(points) else None,
        box,
        None if previous is None else _as_prompt(predictor, previous),
        multimask_output=several,
    )
    is_built_in = sam.image_encoder.img_size < 1024
    number = index or WHOLE
    if several and not is_built_in:  # only the built-in one orders its masks
        number = choose(masks, quality, index)
    if several and quality[number] < TRUSTED:
        doubt()
    return masks[number]


def logits(
    frame: Embedded, points: np.ndarray, box: np.ndarray | None = None
) -> Float32[np.ndarray, "answers height width"]:
    """Return the built-in SAM's logits of each pixel for each point on the object by
    itself or, without points, for a box."""
    return alone(1).submit(_logits, frame, points, box).result()


def _logits(
    frame: Embedded, points: np.ndarray, box: np.ndarray | None
) -> Float32[np.ndarray, "answers height width"]:
    import torch

    sam = load_sam(frame.model)
    size = frame.image.shape[:2]
    scaled = _predictor(sam, frame).transform
    clicks = corners = None
    if len(points):
        at = torch.as_tensor(scaled.apply_coords(points, size)).float()
        clicks = at[:, None], torch.ones(len(at), 1)
    else:
        corners = torch.as_tensor(scaled.apply_boxes(box, size)).float()
    with torch.inference_mode():
        sparse, dense = sam.prompt_encoder(clicks, corners, None)
        masks, _ = sam.mask_decoder(
            frame.features,
            sam.prompt_encoder.get_dense_pe(),
            sparse,
            dense,
            multimask_output=corners is None,
        )
        whole = masks[:, WHOLE : WHOLE + 1]
        return sam.postprocess_masks(whole, frame.input_size, size)[:, 0].numpy()


def load_sam(model: AnyPath | None = None) -> Sam:
    """Load a SAM network, for `model` of `segment`, and keep it for the process.

    Raises:
        ModelError: The file is missing, or is not a published checkpoint.
    """
    name = str(model or BUILT_IN_SAM)
    path = Path(name)
    is_bare_name = path.name == name
    unknown = f"{shorten(path.name)} was not found. Download {_FILES} and use its path."
    with boundary("model", unknown, ModelError):
        if is_bare_name and not path.exists():
            path = find_local(name, ".pth") or path
        if not path.exists():
            raise ModelError("model", unknown)
        if not path.is_dir():
            check_regular(path, "model", ModelError)
        path = path.resolve()
    return _load(path, state_of(path))


@lru_cache(maxsize=2)
def _load(path: Path, _state: object) -> Sam:
    import torch
    from safetensors.torch import load_file
    from segment_anything import sam_model_registry

    from regrain.masks.models.tiny_sam import build_tiny_sam

    if path.is_dir():
        if not (path / FILE).is_file():
            raise ModelError(
                "model",
                f"{shorten(path.name)} is a folder without {FILE}. Use a "
                "checkpoint's file.",
            )
        size = first_size(path)
        read = partial(load_file, path / FILE)
    else:
        size = _size_of(path)
        read = partial(torch.load, path, map_location="cpu", weights_only=True)
    damaged = f"{shorten(path.name)} is damaged. Download it again."
    with LOADING, boundary("model", damaged, ModelError):
        sam = sam_model_registry[size]() if size else build_tiny_sam()
        sam.load_state_dict(read())
    check_finite(sam, shorten(path.name))
    return sam.to(choose_device()) if size else sam.eval()


def _size_of(path: Path) -> str:
    """Return which published checkpoint a pickle is; a ModelError if it is none."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest not in PUBLISHED:
        raise ModelError(
            "model",
            f"{shorten(path.name)} is not a published checkpoint ({_FILES}), and "
            "another pickle could run code. Download one of these.",
        )
    return PUBLISHED[digest][0]


def _predictor(sam: Sam, frame: Embedded) -> Any:
    """Set up the library's predictor with a frame that was encoded."""
    from segment_anything import SamPredictor

    predictor: Any = SamPredictor(sam)
    predictor.original_size = frame.image.shape[:2]
    predictor.input_size = frame.input_size
    predictor.features = frame.features
    predictor.is_image_set = True
    return predictor


def _as_prompt(predictor: Any, mask: np.ndarray) -> np.ndarray:
    """Convert a mask to logits for SAM: on its grid, padded like the frame."""
    import cv2

    size = predictor.model.image_encoder.img_size
    height, width = predictor.input_size
    padded = np.zeros((size, size), np.float32)
    mask = mask.astype(np.float32)
    padded[:height, :width] = cv2.resize(
        mask, (width, height), interpolation=cv2.INTER_AREA
    )
    return as_logits(padded, predictor.model.prompt_encoder.mask_input_size)

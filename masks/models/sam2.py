"""Clicks, boxes and masks on a frame, answered by a published SAM 2 or SAM 3; see `checkpoints`."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from regrain.masks.models.checkpoints import Checkpoint, load
from regrain.masks.models.cost import timing
from regrain.masks.models.embedded import PRIOR, Embedded, KeptFrames, choose, is_first

_frames = KeptFrames()


def embed(image: UInt8[np.ndarray, "height width 3"], checkpoint: Checkpoint) -> Embedded:
    """Encode a frame with a SAM 2 or 3; see `segmentation.click.embed`."""
    return _frames.get(image, str(checkpoint.folder), lambda: _encode(image, checkpoint))


def _encode(image: np.ndarray, checkpoint: Checkpoint) -> Embedded:
    import torch

    model, processor = load(checkpoint, "clicks")
    inputs = processor.image_processor(images=image, return_tensors="pt")
    with torch.inference_mode(), timing(checkpoint, "encode"):
        features = model.get_image_embeddings(inputs["pixel_values"].to(model.device))
    return Embedded(image, str(checkpoint.folder), features, (checkpoint.side, checkpoint.side))


def predict(
    checkpoint: Checkpoint,
    frame: Embedded,
    points: np.ndarray,
    labels: np.ndarray,
    box: np.ndarray | None,
    previous: np.ndarray | None,
    index: int | None = None,
) -> Bool[np.ndarray, "height width"]:
    """Predict a mask; arguments as in `segment`, which checks them.

    Raises:
        ModelError: The checkpoint does not answer clicks, or is broken.
    """
    import torch

    model, processor = load(checkpoint, "clicks")
    size = frame.image.shape[:2]
    several = index is not None or is_first(points, labels, box, previous)
    prompts: dict[str, Any] = {}
    if len(points):
        prompts = {"input_points": [[points.tolist()]], "input_labels": [[labels.tolist()]]}
    if box is not None:
        prompts["input_boxes"] = [[box.tolist()]]
    if prompts:  # not a mask alone: places on the grid of the network
        encoded = processor(**prompts, original_sizes=[list(size)], return_tensors="pt")
        prompts = {name: encoded[name] for name in prompts}
    if previous is not None:
        prompts["input_masks"] = torch.from_numpy(
            _as_prompt(previous, model.prompt_encoder.mask_input_size)
        )
    with torch.inference_mode(), timing(checkpoint, "click"):
        answer = model(
            image_embeddings=frame.features,
            **{name: value.to(model.device) for name, value in prompts.items()},
            multimask_output=several,
        )
        masks = processor.post_process_masks([answer.pred_masks[0].float().cpu()], [size])[0][
            0
        ].numpy()
    return (
        choose(masks, answer.iou_scores[0, 0].float().cpu().numpy(), index) if several else masks[0]
    )


def _as_prompt(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """A mask as logits on the network's grid: float32 [1, 1, height, width]."""
    small = cv2.resize(mask.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
    return np.where(small > 0.5, PRIOR, -PRIOR).astype(np.float32)[None, None]

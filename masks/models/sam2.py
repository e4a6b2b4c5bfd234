"""Clicks, boxes and masks on a frame, answered by a published SAM 2 or SAM 3; see
`checkpoints`."""

from __future__ import annotations

import numpy as np

from regrain.editing.media.lazy_frames import Mask, Rgb
from regrain.editing.storage.texts import Json
from regrain.masks.models.checkpoints import Checkpoint, load
from regrain.masks.models.cost import timing
from regrain.masks.models.embedded import (
    TRUSTED,
    Doubt,
    Embedded,
    Prompts,
    as_logits,
    choose,
    encoded_frames,
)

_frames = encoded_frames()


def embed(image: Rgb, checkpoint: Checkpoint) -> Embedded:
    """Encode a frame with a SAM 2 or 3; see `segmentation.click.embed`."""
    return _frames.get(
        image, str(checkpoint.folder), lambda: _encode(image, checkpoint)
    )


def _encode(image: np.ndarray, checkpoint: Checkpoint) -> Embedded:
    import torch

    model, processor = load(checkpoint, "clicks")
    inputs = processor.image_processor(images=image, return_tensors="pt")
    with torch.inference_mode(), timing(checkpoint, "encode"):
        features = model.get_image_embeddings(inputs["pixel_values"].to(model.device))
    return Embedded(
        image, str(checkpoint.folder), features, (checkpoint.side, checkpoint.side)
    )


def predict(
    checkpoint: Checkpoint,
    frame: Embedded,
    prompts: Prompts,
    index: int | None,
    doubt: Doubt,
) -> Mask:
    """Predict a mask; arguments as in `segment`, which checks them.

    Raises:
        ModelError: The checkpoint does not answer clicks, or is broken.
    """
    import torch

    model, processor = load(checkpoint, "clicks")
    points, labels, box, previous, _ = prompts
    places: Json = {}
    if len(points):
        places["input_points"] = [[points.tolist()]]
        places["input_labels"] = [[labels.tolist()]]
    if box is not None:
        places["input_boxes"] = [[box.tolist()]]
    given: Json = {}
    if places:  # scaled to the network's grid
        size = list(frame.image.shape[:2])
        encoded = processor(**places, original_sizes=[size], return_tensors="pt")
        given = {name: encoded[name] for name in places}
    if previous is not None:
        mask = as_logits(previous, model.prompt_encoder.mask_input_size)
        given["input_masks"] = torch.from_numpy(mask[None])
    several = index is not None or prompts.is_first
    with torch.inference_mode(), timing(checkpoint, "click"):
        answer = model(
            image_embeddings=frame.features,
            **{name: value.to(model.device) for name, value in given.items()},
            multimask_output=several,
        )
        small = answer.pred_masks[0].float().cpu()
        masks_of_pictures = processor.post_process_masks(
            [small], [frame.image.shape[:2]]
        )
        masks = masks_of_pictures[0][0].numpy()
    if not several:
        return masks[0]
    quality = answer.iou_scores[0, 0].float().cpu().numpy()
    number = choose(masks, quality, index)
    if quality[number] < TRUSTED:
        doubt()
    return masks[number]

"""Edit two things of a clip by a click on each: `python own_clip.py CLIP OUT.mp4`."""

import sys

import numpy as np

import regrain

source, out = sys.argv[1:]
clip = regrain.open_clip(source, frames=8)
(first,) = clip.read(0, 1)

# One click (x, y) on each thing. For footage of a camera, add `method="cuts",
# clip=clip`.
labels = np.zeros(first.shape[:2], np.uint8)
for label, click in ((1, (87, 88)), (2, (32, 86))):
    labels[regrain.segment(first, [click], [1])] = label

# The masks of frame 0, carried through the clip; frames come in any order.
masks = np.zeros((len(clip), *labels.shape), np.uint8)
for frame, found, _ in regrain.propagate(clip, {0: labels}):
    masks[frame] = found

request = regrain.EditRequest(
    clip,
    masks,
    regions=(
        regrain.Region("cat", 1, source="a cat", prompt="a fox"),
        regrain.Region("rabbit", 2, source="a rabbit", prompt="a panda"),
    ),
    source_prompt="a cat and a rabbit walk on the grass",
    params={"steps": 10},
)
for event in regrain.edit(request):
    if isinstance(event, regrain.Progress):
        print(f"{event.stage} {event.done} of {event.total}")
    elif isinstance(event, regrain.Finished):
        regrain.write_video(out, event.result.frames, clip.fps)
        print(event.report["metrics"])

"""Bind words to places in a pipeline of diffusers: `python pipeline.py MODEL OUT.png
[STRENGTH]`."""

import sys

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)

import regrain

model, out, *rest = sys.argv[1:]
strength = float(rest[0]) if rest else 0.5
# the left half, the right half
prompt, places = "a fox and an owl", ("a fox", "an owl")

pipe = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
regrain.attention.install(pipe.unet)  # changes nothing until a function is passed

# The region of each token: 0 and 1, or -1 for none.
ids = pipe.tokenizer(prompt, padding="max_length").input_ids
token_region = torch.full((1, len(ids)), -1)
for region, words in enumerate(places):
    part = pipe.tokenizer(words, add_special_tokens=False).input_ids
    start = next(i for i in range(len(ids)) if ids[i : i + len(part)] == part)
    token_region[:, start : start + len(part)] = region


def attend(q, k, v, layer):
    """q, k, v: [batch, heads, tokens, dim]. The first half of the batch is
    unconditional."""
    if layer.kind == "self":
        return regrain.attention.plain(q, k, v, layer)
    side = int(q.shape[2] ** 0.5)
    pixel_region = (
        (torch.arange(side) >= side // 2).long().expand(side, side).reshape(1, -1)
    )
    amount = torch.zeros(len(q), side * side)
    amount[len(q) // 2 :] = strength
    return regrain.modulated_attention(
        q, k, v, pixel_region, token_region, amount.to(q)
    )


generator = torch.Generator().manual_seed(0)
options = {"cross_attention_kwargs": {"attend": attend}, "generator": generator}
pipe(prompt, return_dict=False, **options)[0][0].save(out)

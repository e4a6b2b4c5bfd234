"""What modulation does to attention, layer by layer: `python -m benchmarks.attention_mass --scenes 8`.

Edits scenes of two actors with VideoGrain and the model's recommended settings. Measures, over the modulated
steps and at pixels inside the edited regions, the share of self-attention that stays in the pixel's own
region and the share of cross-attention that goes to its region's words, before and after modulation, in the
conditional half of guidance. With one-hot labels as values, attention itself computes the shares.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.tasks import TASKS, Task, true_masks
from editing import load_backbone
from editing.attention.sites import Site
from editing.backbones import Backbone
from editing.blending import blend_latents, vary
from editing.clip import resize
from editing.diffusion import advance, guide
from editing.methods import videograin as method
from editing.preview import HeatMaps
from editing.registry import resolve_params

FIRST_SEED = 20_000
HALVES = ("uncond", "cond")


def finished(events: Generator) -> object:
    """Run a generator to its end and give what it returns."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value


@torch.no_grad()
def shares(task: Task, backbone: Backbone, params: object) -> dict[tuple[str, str, int], list[tuple]]:
    """(before, after) of every modulated step, by layer, kind and tokens a frame."""
    request = task.request
    width, height = backbone.fit(*request.clip.size, request.size)
    frames = resize(request.clip.read(0, len(request.clip)), (width, height))
    model = method.Wiring(backbone, frames, request, params)
    inverted = finished(method.invert(model, frames))
    layout, text = method.lay_out(backbone, request, inverted[0].shape[-2:])
    heats, found = HeatMaps(layout), defaultdict(list)
    x = vary(inverted[-1], layout.blend_mask, params.variation, request.seed)
    for step in backbone.schedule.sampling(params.steps):
        amount = method.fade(params, step, backbone)
        plain, bent = (
            method.region_attention(layout, params, a, heats, HALVES, model.tracks) for a in (0.0, amount)
        )

        def attend(q: Tensor, k: Tensor, v: Tensor, site: Site, plain=plain, bent=bent, on=amount > 0):
            if on:
                codes = layout.codes(q.shape[2])  # [frames, tokens]
                labels = codes if site.kind == "self" else layout.words.clamp(min=0).expand(len(codes), -1)
                labels = torch.cat([labels] * len(HALVES))
                values = F.one_hot(labels, len(layout.names) + 1).to(v)[:, None]
                values = values.expand(-1, k.shape[1], -1, -1)
                own = codes[:, None, :, None].expand(-1, q.shape[1], -1, -1)
                both = (fn(q, k, values, site).chunk(2)[1].gather(-1, own)[..., 0] for fn in (plain, bent))
                inside = codes[:, None].expand(-1, q.shape[1], -1) > 0
                found[site.name, site.kind, q.shape[2]].append(tuple(float(b[inside].mean()) for b in both))
            return bent(q, k, v, site)

        x0, eps = (
            guide(*b.chunk(2), params.guidance_scale) for b in model.predict(x, step, text, attend, HALVES)
        )
        x = advance(x0, eps, step)
        if params.blend:
            x = blend_latents(x, inverted[max(len(inverted) - 2 - step.index, 0)], layout.blend_mask)
        if not method.within(params.modulate_until, step):
            break
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--grow", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--model", default="storybook")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/attention_mass"))
    args = parser.parse_args()
    backbone = load_backbone(args.model)
    given = {k: json.loads(v) for k, _, v in (item.partition("=") for item in args.set)}
    params, _ = resolve_params("videograin", given, backbone.defaults.get("videograin", {}))
    everything = defaultdict(list)
    for seed in range(args.first, args.first + args.scenes):
        task = TASKS["instance"](seed, backbone.size, true_masks(args.grow))
        for layer, pairs in shares(task, backbone, params).items():
            everything[layer] += pairs
    table = []
    sys.stdout.write(f"{'layer':58s}{'kind':7s}{'tokens':>7s}{'before':>9s}{'after':>9s}\n")
    for (name, kind, tokens), pairs in everything.items():
        before, after = np.mean(pairs, 0)
        table.append({"layer": name, "kind": kind, "tokens": tokens, "before": before, "after": after})
        sys.stdout.write(f"{name:58s}{kind:7s}{tokens:7d}{before:9.3f}{after:9.3f}\n")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "attention_mass.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()

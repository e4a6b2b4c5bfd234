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
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.tasks import TASKS, Task, true_masks
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.diffusion.blending import blend_latents, mix_noise
from regrain.editing.diffusion.schedule import Step, advance
from regrain.editing.methods import videograin as method
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.load import load_backbone
from regrain.editing.params.registry import resolve_params
from regrain.editing.recipe.attention_recorder import AttentionRecorder, HeatScope
from regrain.editing.recipe.layout import Layout, lay_out
from regrain.editing.recipe.modulation import Modulation, fade
from regrain.editing.recipe.window import working_clip

FIRST_SEED = 20_000


def finished(events: Generator) -> object:
    """Run a generator to its end and give what it returns."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value


@torch.no_grad()
def shares(task: Task, backbone: Backbone, params: Any) -> dict[tuple[str, str, int], list[tuple]]:
    """(before, after) of every modulated step, by layer, kind and tokens a frame."""
    request = task.request
    working = working_clip(backbone, request)
    inside = working.inside()
    model = method.VideoGrainModel(backbone, working, request, params)
    inverted = finished(method.invert(model, working))
    layout, text = lay_out(backbone, request, working.grid)
    bent, plain = (
        Modulation(layout, given, model.seen, AttentionRecorder(scope), model.tracks)
        for scope in [HeatScope.choose(working.grid, backbone.sites)]
        for given in (params, params.model_copy(update={"modulate_until": 0.0}))
    )
    watch = Watch(layout, plain, bent)
    fresh = torch.Generator().manual_seed(request.seed)
    x = mix_noise(inverted[-1], inside, params.variation, fresh)
    for step in backbone.schedule.sampling(params.steps):
        bent.begin(step)
        x = advance(*model.predict_guided(x, step, text, watch, None), step)
        if params.blend:
            x = blend_latents(x, inverted[max(len(inverted) - 2 - step.index, 0)], inside)
        if not step.within(params.modulate_until, begun=True):
            break
    return watch.found


class Watch:
    """Attention as `bent` gives it; what pixels of regions give to their own region, with it and without."""

    def __init__(self, layout: Layout, plain: Modulation, bent: Modulation) -> None:
        self._layout, self._plain, self._bent = layout, plain, bent
        self.found: dict[tuple[str, str, int], list[tuple]] = defaultdict(list)

    def attend(self, step: Step, batch: Batch) -> AttentionFn:
        """The attention of one step."""
        plain, bent = (modulation.attend(step, batch) for modulation in (self._plain, self._bent))
        looks = fade(self._bent.params, step) > 0

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if looks:
                both = tuple(self._share(q, k, v, site, fn, len(batch.branches)) for fn in (plain, bent))
                self.found[site.name, site.kind, q.shape[2]].append(both)
            return bent(q, k, v, site)

        return attend

    def _share(
        self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer, fn: AttentionFn, branches: int
    ) -> float:
        """What region pixels of the last branch give to their own region, on average."""
        codes = self._layout.codes(site)  # [frames, tokens]
        labels = codes if site.kind == "self" else self._layout.words.clamp(min=0).expand(len(codes), -1)
        values = F.one_hot(torch.cat([labels] * branches), len(self._layout.names) + 1).to(v)[:, None]
        given = fn(q, k, values.expand(-1, k.shape[1], -1, -1), site).chunk(branches)[-1]
        own = codes[:, None, :, None].expand(-1, q.shape[1], -1, -1)
        return float(given.gather(-1, own)[..., 0][codes[:, None].expand(-1, q.shape[1], -1) > 0].mean())


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

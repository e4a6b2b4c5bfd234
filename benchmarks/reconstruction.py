"""How well can the source be reconstructed? `python -m benchmarks.reconstruction --scenes 4`.

Edits drawn scenes of one actor to their own caption. The difference from the autoencoder's round trip is then
the loss of inversion and the effect of guidance. Prints the PSNR to that round trip for each variant:
FateZero with attention taken over for more and more steps, vid2vid-zero with each way to undo guidance.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from regrain.editing import ArrayClip, EditRequest, Finished, edit, load_backbone
from regrain.editing.media.clip import DRAWN, resize
from regrain.editing.models.backbone import Backbone
from regrain.editing.pipeline.metrics import psnr
from storybook import Scene, render, sample_scene
from storybook.world import FPS

FIRST_SEED = 30_000
FRAMES = 8


def ways_back(guidance_scale: float) -> dict[str, tuple[str, dict[str, object]]]:
    """Method and parameters of every way to reconstruct the source."""
    ways: dict[str, tuple[str, dict[str, object]]] = {}
    for scale in dict.fromkeys((1.0, guidance_scale)):
        guided = {"guidance_scale": scale, "cross_until": 1.0, "self_until": 1.0}
        free = guided | {"cross_until": 0.0, "self_until": 0.0}
        ways[f"fatezero, w {scale:g}: nothing taken over"] = "fatezero", free
        for share in (0.0, 0.4, 0.8, 1.0):
            taken = guided | {"self_until": share}
            ways[f"fatezero, w {scale:g}: words, layout {share:g}"] = "fatezero", taken
        every = guided | {"levels": "all"}
        ways[f"fatezero, w {scale:g}: words, layout, all levels"] = "fatezero", every
        both = every | {"guidance_half": "both"}
        ways[f"fatezero, w {scale:g}: words, layout, all levels, both halves"] = "fatezero", both
    # Sampled with the attention used for learning.
    image = {"dense_layers": "", "keys": "own", "guidance_scale": guidance_scale}
    learned = image | {"inversion": "null_text", "learned_share": 1.0}
    name = f"vid2vid_zero, w {guidance_scale:g}"
    return ways | {
        f"{name}: inverted without a prompt": ("vid2vid_zero", image | {"inversion": "plain"}),
        f"{name}: null-text, 1 inner step": ("vid2vid_zero", learned | {"inner_steps": 1}),
        f"{name}: null-text, 10 inner steps": ("vid2vid_zero", learned | {"inner_steps": 10}),
        f"{name}: negative prompt": ("vid2vid_zero", image),
        f"{name}: negative prompt, across frames": ("vid2vid_zero", {"guidance_scale": guidance_scale}),
    }


def come_back(
    scene: Scene, backbone: Backbone, method: str, params: Mapping[str, object], size: int
) -> tuple[float, float]:
    """PSNR of the reconstruction, to the autoencoder's round trip and to the source itself."""
    request = EditRequest(
        ArrayClip(render(scene, size).frames, Fraction(FPS), comment=DRAWN), None, (),
        source_prompt=scene.caption, prompt=scene.caption, method=method,
        params={"preview_every": 0, **params},
    )  # fmt: skip
    result = next(event.result for event in edit(request, backbone) if isinstance(event, Finished))
    back = result.uncomposited if result.reconstruction is None else result.reconstruction
    working = resize(np.asarray(result.source), backbone.fit(size, size))
    again = resize(backbone.decode(backbone.encode(working)), (size, size))
    everywhere = np.ones(back.shape[:3], bool)
    return psnr(again, back, everywhere) or 0.0, psnr(result.source, back, everywhere) or 0.0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=7.5, help="guidance scale of the guided rows")
    parser.add_argument("--model", default="storybook")
    parser.add_argument("--match", default="", help="only variants whose name contains this text")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/reconstruction"))
    args = parser.parse_args()
    scenes = [sample_scene(FIRST_SEED + i, FRAMES, 1, plain=True) for i in range(args.scenes)]
    backbone, table = load_backbone(args.model), {}
    sys.stdout.write(f"{'dB to':72s}round trip  source\n")
    for name, (method, params) in ways_back(args.guidance).items():
        if args.match not in name:
            continue
        given = {"steps": args.steps, **params}
        found = np.array([come_back(scene, backbone, method, given, args.size) for scene in scenes])
        table[name] = {"round_trip": float(found[:, 0].mean()), "source": float(found[:, 1].mean())}
        sys.stdout.write(f"{name:72s}{found[:, 0].mean():10.1f}{found[:, 1].mean():8.1f}\n")
        sys.stdout.flush()
    args.out.mkdir(parents=True, exist_ok=True)
    facts = {"model": args.model, "scenes": args.scenes, "steps": args.steps, "size": args.size}
    (args.out / "reconstruction.json").write_text(json.dumps(facts | {"ways": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()

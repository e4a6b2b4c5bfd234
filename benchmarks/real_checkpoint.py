"""Does a real checkpoint work? `python -m benchmarks.real_checkpoint --model ID --clip
FILE --prompt ...`.

For those who have one, Stable Diffusion 1.x, 2.x or XL: loads it, inverts the clip,
reconstructs it, edits it by VideoGrain, and prints a table to paste into an issue.

- round trip: PSNR of the autoencoder alone, the upper limit of everything after it.
- reconstructs: PSNR of inversion and sampling with the source prompt, guidance 1, no modulation, against
  the round trip. Below 25 dB something is wrong, such as the prediction type or an unusual noise schedule.
- binds: the mean attention to the words of the region, inside it and outside, and inside before modulation.
- edits: the CLIP score of source and edit, the cosine of frame and prompt, mean over frames. No checkpoint
  has an image encoder of CLIP, so only `--clip-model` scores, a folder: with text encoder, as
  openai/clip-vit-large-patch14, or without one for SDXL, whose second encoder then reads the prompt.
- outside unchanged: pixels outside the region that differ from the clip's, before the video is encoded.

Without masks, the region is the middle third of the frame.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.judge import psnr
from regrain.editing import (
    EditRequest,
    EditResult,
    Finished,
    Region,
    edit,
    load_backbone,
    open_clip,
)
from regrain.editing.boundary import boundary
from regrain.editing.cli.commands import parse_settings
from regrain.editing.errors import EditingError, RequestError, shorten
from regrain.editing.media.clip import resize
from regrain.editing.media.mask_files import read_labels
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.files.facts import facts_of
from regrain.editing.storage.memory import peak_memory

UNTOUCHED = {
    "guidance_scale": 1.0,
    "blend": False,
    "cross_strength": 0.0,
    "self_strength": 0.0,
    "inject_until": 0.0,
    "preview_every": 0,
}
LEAST_PSNR = 25.0
_DONE = {True: "yes", False: "**no**", None: ""}
Row = tuple[str, str, bool | None]
"""Title, figure, and whether it is good; None if it cannot be told."""


def run(request: EditRequest, backbone: Backbone) -> tuple[EditResult, dict]:
    """Edit, and return the result and the report."""
    *_, last = edit(request, backbone)
    assert isinstance(last, Finished)
    return last.result, last.report


def request_from(args: argparse.Namespace) -> EditRequest:
    """Return the edit that the command line describes."""
    clip = open_clip(args.clip, 0, args.stride, args.frames)
    width, height = clip.size
    if args.masks:
        labels = (read_labels(args.masks, len(clip), clip.size, [1]) > 0).astype(
            np.uint8
        )
    else:
        labels = np.zeros((len(clip), height, width), np.uint8)
        labels[:, height // 3 : height * 2 // 3, width // 3 : width * 2 // 3] = 1
    region = Region("region", 1, prompt=args.prompt, source=args.source)
    settings = {"steps": args.steps, "feather": 0} | parse_settings(args.settings)
    return EditRequest(
        clip,
        labels,
        (region,),
        args.source_prompt or args.source,
        params=settings,
        model=args.model,
        size=args.size,
    )


def unchanged(request: EditRequest) -> EditRequest:
    """Return a request whose result should be the clip itself: it keeps the words of
    the inversion."""
    # The whole prompt: a phrase of it would be encoded alone and so be a different
    # text.
    words = request.source_prompt
    region = replace(request.regions[0], prompt=words, source=words)
    return replace(
        request, prompt="", regions=(region,), params={**request.params, **UNTOUCHED}
    )


class ClipScore:
    """Likeness of frames and a text, as CLIP sees both.

    Args:
        place: Folder of an image encoder of CLIP in transformers' format, with or
            without the text encoder.
        backbone: Its text encoder is used if there is none; it must project to the same
            width.
    Raises:
        RequestError: There is none that fits.
    Source: Radford et al., arXiv:2103.00020; the cosine alone, -1..1.
    """

    def __init__(self, place: str, backbone: Backbone) -> None:
        from transformers import (
            CLIPTextModelWithProjection,
            CLIPVisionModelWithProjection,
        )

        said = f"{shorten(place)} is no image encoder of CLIP. Give a folder with its safetensors."
        how = {"local_files_only": True, "use_safetensors": True}
        with boundary("--clip-model", said):
            self._image = CLIPVisionModelWithProjection.from_pretrained(place, **how)
            self._text = None
            config = json.loads(Path(place, "config.json").read_text(encoding="utf-8"))
            if "text_config" in config:
                self._text = CLIPTextModelWithProjection.from_pretrained(place, **how)
        self._backbone = backbone
        width = self._image.config.projection_dim
        pooled = backbone.embed(["x"]).pooled
        model_fits = pooled is not None and pooled.shape[1] == width
        if self._text is None and not model_fits:
            reason = f"{shorten(place)} has no text encoder, and the model none that projects to {width}"
            raise RequestError("--clip-model", f"{reason}. Give a CLIP with both.")

    @torch.no_grad()
    def __call__(self, frames: np.ndarray, words: str) -> float:
        """Return the mean over frames, uint8 [frames, height, width, 3]."""
        from transformers import CLIPImageProcessor

        side = self._image.config.image_size
        sizes = {
            "size": {"shortest_edge": side},
            "crop_size": {"height": side, "width": side},
        }
        process = CLIPImageProcessor(**sizes)
        pixels = process(list(np.asarray(frames)), return_tensors="pt").pixel_values
        if self._text is None:
            text: Any = self._backbone.embed([words]).pooled
        else:
            tokens = self._backbone.check_prompts([words], ["prompt"])
            text = self._text(torch.tensor(tokens.ids)).text_embeds
        images = self._image(pixels).image_embeds
        return float(torch.cosine_similarity(images, text.cpu().float()).mean())


def verify(
    request: EditRequest, backbone: Backbone, scorer: ClipScore | None = None
) -> tuple[dict[str, Any], np.ndarray]:
    """Return all figures, and a sheet: rows are source, round trip, reconstruction and
    edit."""
    source = request.clip.read(0, len(request.clip))
    small = resize(source, backbone.fit(*request.clip.size, request.size))
    everywhere = np.ones(small.shape[:3], bool)
    round_trip = backbone.decode(backbone.encode(small))

    size = small.shape[2:0:-1]
    same, _ = run(unchanged(request), backbone)
    reconstruction = resize(np.asarray(same.uncomposited), size)
    result, report = run(request, backbone)
    edited = np.asarray(result.frames)
    outside = ~np.asarray(result.edited_mask)
    differ = (edited != source).any(-1) & outside
    (attention,) = report["metrics"]["attention"].values()
    scores = None
    if scorer:
        prompt = report["prompt_used"]
        scores = [
            scorer(source, prompt),
            scorer(edited, prompt),
        ]
    figures = {
        "size": list(size),
        "frames": len(small),
        "round trip dB": psnr(small, round_trip, everywhere),
        "reconstruction dB": psnr(round_trip, reconstruction, everywhere),
        "edit outside dB": report["metrics"]["outside_psnr_uncomposited"],
        "attention": attention,
        "CLIP score": scores,
        "pixels outside": int(outside.sum()),
        "of them changed": int(differ.sum()),
        "peak memory GB": peak_memory(backbone.device) / 1e9,
        "seconds": report["seconds"],
        "params": report["params"],
    }
    rows = (small, round_trip, reconstruction, resize(edited, size))
    return figures, _sheet(rows)


def _sheet(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return up to six frames of each clip, one clip below the other."""
    count = len(rows[0])
    places = np.linspace(0, count - 1, min(count, 6))
    shown = places.round().astype(int)
    lines = [np.concatenate(list(row[shown]), 1) for row in rows]
    return np.concatenate(lines)


def table(facts: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the figures as a table in Markdown, and whether nothing in it is bad."""
    rows = [
        *_model_rows(facts),
        _binding_row(facts["attention"]),
        _score_row(facts["CLIP score"]),
        *_cost_rows(facts),
    ]
    steps = facts["params"]["steps"]["value"]
    lines = [
        f"| {facts['model']}, {steps} steps | found | good |",
        "|---|---|---|",
    ]
    is_good = True
    for title, found, good in rows:
        lines.append(f"| {title} | {found} | {_DONE[good]} |")
        is_good = is_good and good is not False
    return "\n".join(lines) + "\n", is_good


def _model_rows(facts: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows about the model without an edit."""
    yield "loads", f"{facts['family']}, {facts['dtype']} on {facts['device']}", True
    side = " x ".join(map(str, facts["size"]))
    round_trip = f"{facts['round trip dB']:.1f} dB, {facts['frames']} frames of {side}"
    yield "round trip of the autoencoder", round_trip, None
    psnr = facts["reconstruction dB"]
    title = f"reconstructs ({LEAST_PSNR:g} dB)"
    yield title, f"{psnr:.1f} dB", psnr >= LEAST_PSNR


def _binding_row(attention: Mapping[str, float]) -> Row:
    """Return the row about the attention to the words of the region."""
    inside = attention["inside_after"]
    outside = attention["outside_after"]
    before = attention["inside_before"]
    found = f"{inside:.4f} inside, {outside:.4f} outside; {before:.4f} inside before"
    return "binds (attention to own words)", found, inside > max(outside, before)


def _score_row(scores: Sequence[float] | None) -> Row:
    """Return the row about the CLIP scores of source and edit."""
    title = "edits (CLIP score)"
    if not scores:
        return title, "not scored: no --clip-model", None
    source, edited = scores
    found = f"{source:.3f} before, {edited:.3f} after"
    return title, found, edited > source


def _cost_rows(facts: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows about pixels outside the region, and about time and memory."""
    changed = facts["of them changed"]
    found = f"{changed} of {facts['pixels outside']} pixels differ"
    yield "outside unchanged", found, not changed
    seconds = facts["seconds"] | {"loading": facts["loading seconds"]}
    parts = [f"{name} {taken:.1f}" for name, taken in seconds.items()]
    yield "seconds", ", ".join(parts), None
    yield "memory", f"{facts['peak memory GB']:.1f} GB at most", None


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 if all is good, 1 if not, 2 for a user error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", required=True, help="hub id, diffusers folder or .safetensors file"
    )
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--source", required=True, help="what the region is, in words")
    parser.add_argument("--prompt", required=True, help="what it should become")
    parser.add_argument(
        "--source-prompt",
        default="",
        help="what the whole clip shows; default: --source",
    )
    parser.add_argument(
        "--masks", type=Path, help="folder of masks; any label is the region"
    )
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--size", type=int)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE"
    )
    parser.add_argument(
        "--clip-model",
        help="folder of a CLIP, or of SDXL's image encoder, that scores the edit",
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/real_checkpoint"))
    args = parser.parse_args(arguments)
    try:
        request = request_from(args)
        began = time.perf_counter()
        backbone = load_backbone(args.model)
        loaded = time.perf_counter() - began
        scorer = ClipScore(args.clip_model, backbone) if args.clip_model else None
        figures, sheet = verify(request, backbone, scorer)
    except EditingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    family = facts_of(args.model).family
    place = Path(args.model)
    facts = {
        "model": place.name if place.exists() else args.model,
        "family": family and family.title,
        "device": str(backbone.device),
        "dtype": str(backbone.dtype),
        "loading seconds": round(loaded, 1),
        **figures,
    }
    (args.out / "real_checkpoint.json").write_text(
        json.dumps(facts, indent=2, default=str) + "\n"
    )
    Image.fromarray(sheet).save(args.out / "real_checkpoint.png")
    text, good = table(facts)
    sys.stdout.write(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Prompts after the text encoder: which tokens a phrase became, and phrases encoded on their own."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Text:
    """What a backbone's `embed` returns.

    Attributes:
        prompts: The n prompts as given.
        vectors: One row per prompt, padded to the model's limit of L tokens.
        lengths: Tokens of each prompt, start and end included.
        offsets: For each prompt and each of the L tokens the characters [start, stop) it came from; (0, 0)
            for the start, the end and the padding.
    """

    prompts: tuple[str, ...]
    vectors: Float[Tensor, "n L d"]
    lengths: tuple[int, ...]
    offsets: tuple[tuple[tuple[int, int], ...], ...]

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, row: int) -> "Text":
        """The prompt at `row` as a Text of its own."""
        rows = slice(row, row + 1) if row != -1 else slice(row, None)
        return Text(self.prompts[rows], self.vectors[rows], self.lengths[rows], self.offsets[rows])

    @property
    def pads(self) -> tuple[int, ...]:
        """Padding tokens of each prompt, at its end."""
        return tuple(self.vectors.shape[1] - length for length in self.lengths)


def spans(text: Text, start: int, stop: int) -> tuple[int, ...]:
    """Positions of the tokens that touch the characters [start, stop) of a prompt.

    Args:
        text: A single prompt (`text[i]` of several).
        start: First character.
        stop: One past the last character.
    Returns:
        Rising positions into `vectors`' rows of tokens; the start token is 0. Empty if only spaces are meant.
    Raises:
        ValueError: `text` holds several prompts.
    """
    if len(text) != 1:
        raise ValueError(f"spans reads one prompt, {len(text)} given; pass text[i]")
    return tuple(i for i, (a, b) in enumerate(text.offsets[0]) if a < b and a < stop and b > start)


def splice(text: Text, phrases: Mapping[tuple[int, ...], Text]) -> Float[Tensor, "1 L d"]:
    """The vectors of a prompt, with those of some phrases replaced by the phrases encoded alone.

    A phrase in its sentence has seen the words before it; alone it has not, so another region's words do not
    leak into it.

    Args:
        text: A single prompt.
        phrases: Token positions in `text` -> the single phrase that stands there, embedded on its own.
    Raises:
        ValueError: A phrase has another number of tokens than the positions it should fill.
    Source: VideoGrain, arXiv:2502.17258, Sec. 3.2 (after DenseDiffusion, arXiv:2308.12964).
    """
    if len(text) != 1:
        raise ValueError(f"splice works on one prompt, {len(text)} given; pass text[i]")
    vectors = text.vectors.clone()
    for positions, phrase in phrases.items():
        if len(phrase) != 1 or phrase.lengths[0] - 2 != len(positions):
            raise ValueError(
                f"{phrase.prompts} has {phrase.lengths} tokens with start and end, not {len(positions)} + 2"
            )
        vectors[0, list(positions)] = phrase.vectors[0, 1 : 1 + len(positions)]
    return vectors

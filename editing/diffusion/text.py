"""Prompts as a model reads them: the tokens of a phrase, phrases encoded alone, and the alignment of two
prompts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.errors import PromptError, shorten, suggest

Variant = Literal["fixed", "original"]
"""How prompts are aligned: with the bugs of the published code fixed, or unchanged."""
_LITTLE = frozenset(["a", "an", "the", "another", "of", "in", "on", "at", "with", "and", "to"])


@dataclass(frozen=True, eq=False)
class PromptEmbedding:
    """Encoded prompts, as returned by a backbone's `embed`; recipes pass them to the model whole.

    Attributes:
        prompts: The n prompts as given.
        vectors: One row per prompt, padded to the model's limit of L tokens.
        lengths: Tokens of each prompt, start and end included.
        offsets: For each prompt and each of the L tokens the characters [start, stop) it came from; (0, 0)
            for the start, the end and the padding.
        ids: For each prompt the L numbers of its tokens in the vocabulary. A token that ends a word has
            another number than the same letters inside one.
        pooled: One vector per prompt, if the model has pooled vectors.
        branches: Of texts joined for a batch, whose each is; see `Batch`.
    """

    prompts: tuple[str, ...]
    vectors: Float[Tensor, "n L d"]
    lengths: tuple[int, ...]
    offsets: tuple[tuple[tuple[int, int], ...], ...]
    ids: tuple[tuple[int, ...], ...]
    pooled: Float[Tensor, "n p"] | None = None
    branches: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, rows: int | slice | Sequence[int]) -> PromptEmbedding:
        """The prompt at a row, or those at several, as a Text of its own."""
        chosen = np.atleast_1d(np.arange(len(self))[rows]).tolist()
        per_prompt = (self.prompts, self.lengths, self.offsets, self.ids)
        prompts, lengths, offsets, ids = (
            tuple(values[row] for row in chosen) for values in per_prompt
        )
        pooled = None if self.pooled is None else self.pooled[chosen]
        return PromptEmbedding(prompts, self.vectors[chosen], lengths, offsets, ids, pooled)

    def __iter__(self) -> Iterator[PromptEmbedding]:
        """Each prompt as a Text of its own."""
        return (self[row] for row in range(len(self)))

    def with_vectors(self, vectors: Float[Tensor, "n L d"]) -> PromptEmbedding:
        """The same prompts with other vectors, for example learned ones."""
        return replace(self, vectors=vectors)

    @staticmethod
    def cat(texts: Sequence[PromptEmbedding]) -> PromptEmbedding:
        """Join several texts of one model, in order."""
        pooled = [text.pooled for text in texts if text.pooled is not None]
        return PromptEmbedding(
            tuple(prompt for text in texts for prompt in text.prompts),
            torch.cat([text.vectors for text in texts]),
            tuple(length for text in texts for length in text.lengths),
            tuple(offsets for text in texts for offsets in text.offsets),
            tuple(ids for text in texts for ids in text.ids),
            torch.cat(pooled) if pooled else None,
        )


def spans(text: PromptEmbedding, start: int, stop: int) -> tuple[int, ...]:
    """Find the tokens that touch the characters [start, stop) of a single prompt (`text[i]` of several).

    Returns:
        Token positions in rising order; the start token is 0. Empty if the characters are only spaces.
    Raises:
        ValueError: `text` holds several prompts.
    """
    if len(text) != 1:
        raise ValueError(f"spans reads one prompt, {len(text)} given; pass text[i]")
    return tuple(i for i, (a, b) in enumerate(text.offsets[0]) if a < b and a < stop and b > start)


def splice(
    text: PromptEmbedding, phrases: Mapping[tuple[int, ...], PromptEmbedding]
) -> PromptEmbedding:
    """Replace the vectors of some phrases of a prompt by those of the phrases encoded alone.

    In its sentence, a phrase is encoded with the words before it; alone, no other region's words leak in.

    Args:
        text: A single prompt.
        phrases: Token positions in `text` -> the phrase at these positions, embedded alone.
    Raises:
        ValueError: A phrase has another number of tokens than positions.
    Source: VideoGrain, arXiv:2502.17258, Sec. 3.2 (after DenseDiffusion, arXiv:2308.12964).
    """
    vectors = text.vectors.clone()
    for positions, phrase in phrases.items():
        if len(phrase) != 1 or phrase.lengths[0] - 2 != len(positions):
            raise ValueError(
                f"{phrase.prompts} has {phrase.lengths} tokens with start and end, not {len(positions)} + 2"
            )
        vectors[0, list(positions)] = phrase.vectors[0, 1 : 1 + len(positions)]
    return text.with_vectors(vectors)


class Word(NamedTuple):
    """A word of a prompt: lower case, without the punctuation around it, and its characters [start, stop)."""

    text: str
    start: int
    stop: int


def words(prompt: str) -> tuple[Word, ...]:
    """The words by which prompts are compared: "A cat, on the mat." has the words a, cat, on, the, mat."""
    return tuple(Word(m[0].casefold(), *m.span()) for m in re.finditer(r"\w(?:\S*\w)?", prompt))


def telling_words(prompt: str) -> tuple[str, ...]:
    """The words of a prompt without articles and prepositions, each once."""
    return tuple(dict.fromkeys(word.text for word in words(prompt) if word.text not in _LITTLE))


def _changes(
    source: str, target: str
) -> tuple[list[str], list[str], list[tuple[str, int, int, int, int]]]:
    """Words of both prompts, and the runs that differ: kind, [start, stop) in source and in target."""
    ours, theirs = ([word.text for word in words(prompt)] for prompt in (source, target))
    runs = SequenceMatcher(None, ours, theirs, False).get_opcodes()
    return ours, theirs, [run for run in runs if run[0] != "equal"]


def is_swap(source: str, target: str) -> bool:
    """Whether the prompts differ only by one-for-one word swaps."""
    return all(
        stop - start == end - begin for _, start, stop, begin, end in _changes(source, target)[2]
    )


def new_words(source: str, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the words of `source` that `target` lost, and those it gained, in order.

    Articles and prepositions are left out unless nothing else changed.

    Source: longest common runs of words (Ratcliff and Obershelp, 1988).
    """
    ours, theirs, changes = _changes(source, target)
    lost = [word for _, a, b, _, _ in changes for word in ours[a:b]]
    gained = [word for _, _, _, a, b in changes for word in theirs[a:b]]
    lost, gained = ([w for w in found if w not in _LITTLE] or found for found in (lost, gained))
    return tuple(dict.fromkeys(lost)), tuple(dict.fromkeys(gained))


def find_words(text: PromptEmbedding, phrase: str, field: str = "prompt") -> tuple[int, ...]:
    """Find the tokens of every occurrence of a phrase in a single prompt, ignoring case and punctuation.

    Raises:
        PromptError: The phrase does not occur; names the nearest word of the prompt, and `field`.
    """
    wanted, prompt = [w.text for w in words(phrase)], words(text.prompts[0])
    runs = [prompt[i : i + len(wanted)] for i in range(len(prompt) - len(wanted) + 1) if wanted]
    matches = [run for run in runs if [w.text for w in run] == wanted]
    if not matches:
        nearest = suggest(phrase.casefold(), dict.fromkeys(w.text for w in prompt))
        raise PromptError(field, f"{shorten(phrase)} is not in the prompt. {nearest}")
    return tuple(
        sorted({token for run in matches for token in spans(text, run[0].start, run[-1].stop)})
    )


def equalizer(
    text: PromptEmbedding, weights: Mapping[str, float], field: str = "prompt"
) -> Float[Tensor, "L"]:
    """A factor per token: the given weight for tokens of listed words and phrases, 1 for all others.

    Errors are those of `find_words`.
    """
    factors = torch.ones(text.vectors.shape[1])
    for phrase, weight in weights.items():
        factors[list(find_words(text, phrase, field))] = weight
    return factors


def replace_map(
    source: PromptEmbedding, target: PromptEmbedding, variant: Variant = "fixed"
) -> Float[Tensor, "L L"]:
    """Map the attention of the tokens of `source` to those of `target`, word for word.

    Rows are source tokens, columns target tokens, as for `maps @ replace_map(...)`. Words correspond by
    position. Words with the same number of tokens map token by token; otherwise attention is shared evenly
    among the target's tokens. Every row sums to 1: no attention is lost or doubled.

    Args:
        source, target: Single prompts, of as many words.
        variant: "original": words are split at single spaces, with case and punctuation, and after the last
            changed word a token takes the attention of the source's token at the same position.
    Raises:
        PromptError: The prompts differ in their number of words.
    Source: Hertz et al., arXiv:2208.01626, Sec. 3.2 (word swap).
    """
    ours, theirs = _word_tokens(source, variant), _word_tokens(target, variant)
    if len(ours) != len(theirs):
        raise PromptError(
            "prompt",
            f"It has {len(theirs)} words, but the source prompt has {len(ours)}, and replacing needs equal "
            "numbers. Use cross_control=refine.",
        )
    pairs = list(zip(ours, theirs, strict=True))
    if variant == "original":
        return _walk(
            [(s, t) for (word, s), (other, t) in pairs if word != other and s and t], source
        )
    limit = source.vectors.shape[1]
    (end,), (end_there,) = source.lengths, target.lengths
    mapper = torch.zeros(limit, limit)
    anchors = [((0,), (0,)), *((s, t) for (_, s), (_, t) in pairs), ((end - 1,), (end_there - 1,))]
    for (s, t), (s_next, t_next) in zip(
        anchors, [*anchors[1:], ((end,), (end_there,))], strict=True
    ):
        _share(mapper, s, t)
        # Punctuation before the next word maps to its counterpart, or else to the token before it.
        for i in range(s[-1] + 1, s_next[0]):
            mapper[i, min(t[-1] + i - s[-1], t_next[0] - 1)] = 1
    for i in range(end, limit):
        mapper[i, min(i - end + end_there, limit - 1)] = 1
    return mapper


def _share(mapper: Float[Tensor, "L L"], s: tuple[int, ...], t: tuple[int, ...]) -> None:
    """Map a word's tokens to another's: one to one if there are as many, else each to all."""
    mapper[s[0] : s[-1] + 1, t[0] : t[-1] + 1] = (
        torch.eye(len(s)) if len(s) == len(t) else 1 / len(t)
    )


def _walk(
    edited: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], source: PromptEmbedding
) -> Float[Tensor, "L L"]:
    """The published construction of the map, from the tokens of each changed word."""
    limit = source.vectors.shape[1]
    mapper, waiting = torch.zeros(limit, limit), list(edited)
    i = j = 0
    while i < limit and j < limit:
        if not waiting:
            mapper[j, j] = 1
        elif waiting[0][0][0] == i:
            s, t = waiting.pop(0)
            _share(mapper, s, t)
            i, j = i + len(s), j + len(t)
            continue
        else:
            mapper[i, j] = 1
        i, j = i + 1, j + 1
    return mapper


def refine_map(
    source: PromptEmbedding, target: PromptEmbedding, variant: Variant = "fixed"
) -> tuple[Int[Tensor, "L"], Float[Tensor, "L"]]:
    """Find the token of `source` for each token of `target`, and whether there is one (1) or it is new (0).

    The sequences of token ids are aligned by Needleman and Wunsch: a match counts 1, a mismatch -1, a gap 0,
    so a changed word is one deleted and one inserted. A whole word never matches the beginning of a longer
    one: `black` is not the `black` of `blackswan`.

    Args:
        source, target: Single prompts.
        variant: "fixed" maps padding to padding at the same distance from the end; "original" maps it to the
            source's token at the same position.
    Returns:
        Indices, -1 for new tokens; and 1 or 0 per token.
    Source: Hertz et al., arXiv:2208.01626, Sec. 3.2 (adding a new phrase).
    """
    limit = source.vectors.shape[1]
    ours, theirs = (text.ids[0][: text.lengths[0]] for text in (source, target))
    indices = torch.full((limit,), -1, dtype=torch.int64)
    for i, j in _align(ours, theirs):
        indices[j] = i
    pads = torch.arange(len(theirs), limit)
    indices[pads] = (
        pads if variant == "original" else (pads - len(theirs) + len(ours)).clamp(max=limit - 1)
    )
    return indices, (indices >= 0).float()


def _align(a: Sequence[int], b: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of positions in the best global alignment; among ties, the one with the latest gaps."""
    score = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            diagonal = score[i, j] + (1 if left == right else -1)
            score[i + 1, j + 1] = max(score[i + 1, j], score[i, j + 1], diagonal)
    pairs, i, j = [], len(a), len(b)
    while i and j:
        if score[i, j] == score[i, j - 1]:
            j -= 1
        elif score[i, j] == score[i - 1, j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def _word_tokens(text: PromptEmbedding, variant: Variant) -> list[tuple[str, tuple[int, ...]]]:
    """Each word of a prompt with its tokens."""
    (prompt,), (length,), (offsets,) = text.prompts, text.lengths, text.offsets
    if variant == "fixed":
        return [(word.text, spans(text, word.start, word.stop)) for word in words(prompt)]
    # As published: a word ends at the token with which its character count reaches its length.
    pieces = prompt.split(" ")
    tokens: list[list[int]] = [[] for _ in pieces]
    at = seen = 0
    for token in range(1, length - 1):
        if at == len(pieces):
            break
        tokens[at].append(token)
        seen += offsets[token][1] - offsets[token][0]
        if seen >= len(pieces[at]):
            at, seen = at + 1, 0
    return [(piece, tuple(found)) for piece, found in zip(pieces, tokens, strict=True)]

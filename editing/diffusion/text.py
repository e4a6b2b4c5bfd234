"""Encoded prompts: the tokens of a phrase, phrases encoded alone, and the alignment of
two prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.errors import PromptError, shorten, suggest
from regrain.editing.media.lazy_frames import Numbers
from regrain.editing.params.phrases import find_phrase, words

Variant = Literal["fixed", "original"]
"""Alignment of prompts with the bugs of the published code fixed, or unchanged."""
TokenMap = Float[Tensor, "L L"]
"""How much each token of one prompt takes from each of another."""
_LITTLE = frozenset(
    ["a", "an", "the", "another", "of", "in", "on", "at", "with", "and", "to"]
)


@dataclass(frozen=True, eq=False)
class PromptEmbedding:
    """Encoded prompts, as returned by a backbone's `embed`; recipes pass them to the
    model whole.

    Attributes:
        prompts: The n prompts as given.
        vectors: One row per prompt, padded to the model's limit of L tokens.
        lengths: Tokens of each prompt, start and end included.
        offsets: For each prompt and each of the L tokens the characters [start, stop)
            it came from; (0, 0) for the start, the end and the padding.
        ids: For each prompt the L numbers of its tokens in the vocabulary. A token that
            ends a word has another number than the same letters inside one.
        pooled: One vector per prompt, if the model has pooled vectors.
        branches: Branch of each prompt, if joined for a `Batch`.
    """

    prompts: tuple[str, ...]
    vectors: Float[Tensor, "n L d"]
    lengths: Numbers
    offsets: tuple[tuple[tuple[int, int], ...], ...]
    ids: tuple[Numbers, ...]
    pooled: Float[Tensor, "n p"] | None = None
    branches: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, rows: int | slice | Sequence[int]) -> PromptEmbedding:
        """Return the prompt at a row, or those at several, as an embedding of its
        own."""
        chosen = np.atleast_1d(np.arange(len(self))[rows]).tolist()
        return PromptEmbedding(
            vectors=self.vectors[chosen],
            pooled=None if self.pooled is None else self.pooled[chosen],
            prompts=tuple(self.prompts[row] for row in chosen),
            lengths=tuple(self.lengths[row] for row in chosen),
            offsets=tuple(self.offsets[row] for row in chosen),
            ids=tuple(self.ids[row] for row in chosen),
        )

    def __iter__(self) -> Iterator[PromptEmbedding]:
        """Yield each prompt as an embedding of its own."""
        return (self[row] for row in range(len(self)))

    def with_vectors(self, vectors: Float[Tensor, "n L d"]) -> PromptEmbedding:
        """Return these prompts with other vectors, for example learned ones."""
        return replace(self, vectors=vectors)

    @staticmethod
    def cat(texts: Sequence[PromptEmbedding]) -> PromptEmbedding:
        """Join several texts of one model, in order."""
        pooled = [text.pooled for text in texts if text.pooled is not None]
        return PromptEmbedding(
            vectors=torch.cat([text.vectors for text in texts]),
            pooled=torch.cat(pooled) if pooled else None,
            prompts=tuple(prompt for text in texts for prompt in text.prompts),
            lengths=tuple(length for text in texts for length in text.lengths),
            offsets=tuple(offsets for text in texts for offsets in text.offsets),
            ids=tuple(ids for text in texts for ids in text.ids),
        )


def spans(text: PromptEmbedding, start: int, stop: int) -> Numbers:
    """Find the tokens that touch the characters [start, stop) of a single prompt
    (`text[i]` of several).

    Returns:
        Token positions in rising order; the start token is 0. Empty if the characters
        are only spaces.
    """
    return tuple(
        i
        for i, (a, b) in enumerate(text.offsets[0])
        if a < b and a < stop and b > start
    )


def splice(
    text: PromptEmbedding, phrases: Mapping[Numbers, PromptEmbedding]
) -> PromptEmbedding:
    """Replace the vectors of some phrases of a prompt by those of the phrases encoded
    alone.

    In its sentence, a phrase is encoded with the words before it; alone, no other
    region's words leak in.

    Args:
        text: A single prompt.
        phrases: Token positions in `text` -> the phrase at these positions, embedded
            alone, as many tokens as positions.
    Source: VideoGrain, arXiv:2502.17258, Sec. 3.2 (after DenseDiffusion,
        arXiv:2308.12964).
    """
    vectors = text.vectors.clone()
    for positions, phrase in phrases.items():
        vectors[0, list(positions)] = phrase.vectors[0, 1 : 1 + len(positions)]
    return text.with_vectors(vectors)


def telling_words(prompt: str) -> tuple[str, ...]:
    """Return the words of a prompt without articles and prepositions, each once."""
    return tuple(
        dict.fromkeys(word.text for word in words(prompt) if word.text not in _LITTLE)
    )


def _changes(source: str, target: str) -> list[tuple[list[str], list[str]]]:
    """Return the runs of words that differ: those of `source`, and those of `target` in
    their place."""
    ours = [word.text for word in words(source)]
    theirs = [word.text for word in words(target)]
    changes = []
    for kind, start, stop, begin, end in SequenceMatcher(
        None, ours, theirs, False
    ).get_opcodes():
        if kind != "equal":
            changes.append((ours[start:stop], theirs[begin:end]))
    return changes


def is_swap(source: str, target: str) -> bool:
    """Check if the prompts differ only by one-for-one word swaps."""
    return all(len(lost) == len(gained) for lost, gained in _changes(source, target))


def new_words(source: str, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the words of `source` that `target` lost, and those it gained, in order.

    Articles and prepositions are left out unless nothing else changed.

    Source: longest common runs of words (Ratcliff and Obershelp, 1988).
    """
    changes = _changes(source, target)
    lost = [word for run, _ in changes for word in run]
    gained = [word for _, run in changes for word in run]
    return _told(lost), _told(gained)


def _told(found: list[str]) -> tuple[str, ...]:
    """Return words, each once, without articles and prepositions unless there are no
    others."""
    told = [word for word in found if word not in _LITTLE]
    return tuple(dict.fromkeys(told or found))


def find_words(text: PromptEmbedding, phrase: str, field: str = "prompt") -> Numbers:
    """Find the tokens of every occurrence of a phrase in a single prompt, ignoring case
    and punctuation.

    Raises:
        PromptError: The phrase does not occur; names the nearest word of the prompt,
            and `field`.
    """
    (prompt,) = text.prompts
    places = [*find_phrase(prompt, phrase)]
    if not places:
        known = dict.fromkeys(word.text for word in words(prompt))
        nearest = suggest(phrase.casefold(), known)
        raise PromptError(field, f"{shorten(phrase)} is not in the prompt. {nearest}")
    return tuple(sorted({token for place in places for token in spans(text, *place)}))


def find_all(text: PromptEmbedding, phrases: Iterable[str], field: str) -> Numbers:
    """Find the tokens of several words or phrases in a single prompt, in rising order;
    errors are those of `find_words`."""
    found: set[int] = set()
    for phrase in phrases:
        found.update(find_words(text, phrase, field))
    return tuple(sorted(found))


def replace_map(
    source: PromptEmbedding, target: PromptEmbedding, variant: Variant = "fixed"
) -> TokenMap:
    """Map the attention of the tokens of `source` to those of `target`, word for word.

    Rows are source tokens, columns target tokens, as for `maps @ replace_map(...)`.
    Words correspond by position. Words with the same number of tokens map token by
    token; otherwise attention is shared evenly among the target's tokens. Every row
    sums to 1: no attention is lost or doubled.

    Args:
        source, target: Single prompts, of as many words.
        variant: "original": words are split at single spaces, with case and punctuation, and after the last
            changed word a token takes the attention of the source's token at the same position.
    Raises:
        PromptError: The prompts differ in their number of words.
    Source: Hertz et al., arXiv:2208.01626, Sec. 3.2 (word swap).
    """
    ours = _word_tokens(source, variant)
    theirs = _word_tokens(target, variant)
    if len(ours) != len(theirs):
        raise PromptError(
            "prompt",
            f"It has {len(theirs)} words, but the source prompt has {len(ours)}, and replacing needs equal "
            "numbers. Use cross_control=refine.",
        )
    limit = source.vectors.shape[1]
    pairs = list(zip(ours, theirs, strict=True))
    if variant == "original":
        changed = [
            (s, t) for (word, s), (other, t) in pairs if word != other and s and t
        ]
        return _walk(changed, limit)
    (end,), (end_there,) = source.lengths, target.lengths
    anchors = [
        ((0,), (0,)),
        *((s, t) for (_, s), (_, t) in pairs),
        ((end - 1,), (end_there - 1,)),
        ((end,), (end_there,)),  # the first token of the padding
    ]
    mapper = torch.zeros(limit, limit)
    for (s, t), (s_next, t_next) in pairwise(anchors):
        _share(mapper, s, t)
        # Punctuation before the next word maps to its counterpart, or else to the token
        # before it.
        between = range(s[-1] + 1, s_next[0])
        _map_along(mapper, between, t[-1] + 1, t_next[0])
    _map_along(mapper, range(end, limit), end_there, limit)
    return mapper


def _map_along(mapper: TokenMap, tokens: range, start: int, stop: int) -> None:
    """Map tokens to their counterparts from `start`; if there are too few before
    `stop`, to the last before it."""
    for j, i in enumerate(tokens, start):
        mapper[i, min(j, stop - 1)] = 1


def _share(mapper: TokenMap, s: Numbers, t: Numbers) -> None:
    """Map a word's tokens to another's: one to one if there are as many, else each to
    all."""
    shares = torch.eye(len(s)) if len(s) == len(t) else 1 / len(t)
    mapper[s[0] : s[-1] + 1, t[0] : t[-1] + 1] = shares


def _walk(changed: Sequence[tuple[Numbers, Numbers]], limit: int) -> TokenMap:
    """Build the map as published, from the tokens of each changed word in source and
    target."""
    mapper = torch.zeros(limit, limit)
    waiting = list(changed)
    i = j = 0
    while i < limit and j < limit:
        if waiting and waiting[0][0][0] == i:
            s, t = waiting.pop(0)
            _share(mapper, s, t)
            i += len(s)
            j += len(t)
            continue
        mapper[i if waiting else j, j] = 1
        i += 1
        j += 1
    return mapper


def refine_map(
    source: PromptEmbedding, target: PromptEmbedding, variant: Variant
) -> tuple[Int[Tensor, "L"], Float[Tensor, "L"]]:
    """Find the token of `source` for each token of `target`, with 1 if there is one, 0
    if it is new.

    The sequences of token ids are aligned by Needleman and Wunsch: a match counts 1, a
    mismatch -1, a gap 0, so a changed word is one deleted and one inserted. A whole
    word never matches the beginning of a longer one: `black` is not the `black` of
    `blackswan`.

    Args:
        source, target: Single prompts.
        variant: "fixed" maps padding to padding at the same distance from the end; "original" maps it to the
            source's token at the same position.
    Returns:
        Indices, -1 for new tokens; and 1 or 0 per token.
    Source: Hertz et al., arXiv:2208.01626, Sec. 3.2 (adding a new phrase).
    """
    limit = source.vectors.shape[1]
    ours = source.ids[0][: source.lengths[0]]
    theirs = target.ids[0][: target.lengths[0]]
    indices = torch.full((limit,), -1, dtype=torch.int64)
    for i, j in _align(ours, theirs):
        indices[j] = i
    pads = torch.arange(len(theirs), limit)
    shift = 0 if variant == "original" else len(ours) - len(theirs)
    indices[pads] = (pads + shift).clamp(max=limit - 1)
    return indices, (indices >= 0).float()


def _align(a: Sequence[int], b: Sequence[int]) -> list[tuple[int, int]]:
    """Return the pairs of positions of the best global alignment; of ties, the one with
    the latest gaps."""
    score = _alignment_scores(a, b)
    i = len(a)
    j = len(b)
    pairs = []
    while i and j:
        if score[i, j] == score[i, j - 1]:
            j -= 1
        elif score[i, j] == score[i - 1, j]:
            i -= 1
        else:
            i -= 1
            j -= 1
            pairs.append((i, j))
    return pairs[::-1]


def _alignment_scores(
    a: Sequence[int], b: Sequence[int]
) -> Int[np.ndarray, "rows columns"]:
    """Return the best score of every pair of beginnings: match 1, mismatch -1, gap
    0."""
    score = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, left in enumerate(a, 1):
        for j, right in enumerate(b, 1):
            match = 1 if left == right else -1
            diagonal = score[i - 1, j - 1] + match
            score[i, j] = max(score[i, j - 1], score[i - 1, j], diagonal)
    return score


def _word_tokens(text: PromptEmbedding, variant: Variant) -> list[tuple[str, Numbers]]:
    """Return each word of a prompt with its tokens."""
    (prompt,) = text.prompts
    if variant == "fixed":
        return [
            (word.text, spans(text, word.start, word.stop)) for word in words(prompt)
        ]
    pieces = prompt.split(" ")
    return list(zip(pieces, _published_tokens(text, pieces), strict=True))


def _published_tokens(text: PromptEmbedding, pieces: Sequence[str]) -> list[Numbers]:
    """Return the tokens of each piece of a prompt, as published.

    A piece ends at the token with which its character count reaches its length.
    """
    (length,), (offsets,) = text.lengths, text.offsets
    tokens: list[list[int]] = [[] for _ in pieces]
    at = 0
    seen = 0
    for token in range(1, length - 1):
        if at == len(pieces):
            break
        start, stop = offsets[token]
        tokens[at].append(token)
        seen += stop - start
        if seen >= len(pieces[at]):
            at += 1
            seen = 0
    return [tuple(found) for found in tokens]

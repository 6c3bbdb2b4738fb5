"""Inputs of chance, the same for the same seed: made anew, or changed from those that told most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

#: Bytes that stand at the edge of something.
_EDGES = bytes(
    (
        0,
        1,
        9,
        10,
        13,
        30,
        32,
        34,
        44,
        47,
        48,
        57,
        58,
        59,
        61,
        91,
        92,
        123,
        125,
        126,
        127,
        128,
        129,
        130,
        136,
        137,
        138,
        191,
        192,
        237,
        244,
        254,
        255,
    )
)
_MOST_KEPT = 400
_LONGEST = 8192


class Corpus:
    """What inputs are made from.

    :param random: decides everything.
    :param seeds: inputs to begin with.
    :param tokens: pieces that mean something where they stand.
    :param grown: makes an input by the rules of its kind, mostly valid.
    """

    def __init__(
        self,
        random: Random,
        seeds: Sequence[bytes],
        tokens: Sequence[bytes],
        grown: Callable[[Random], bytes],
    ) -> None:
        self._random = random
        self._kept = list(seeds)
        self._tokens = list(tokens)
        self._grown = grown
        self._outcomes: set[object] = set()

    def next(self) -> bytes:
        random = self._random
        kind = random.random()
        if kind < 0.05:
            return random.randbytes(int(random.random() * 64))
        if kind < 0.35:
            return self._grown(random)[:_LONGEST]
        kept = self._kept
        data = bytearray(kept[int(random.random() * len(kept))])
        for _ in range(1 + int(random.random() * 4)):
            self._change(data)
        return bytes(data[:_LONGEST])

    def learn(self, data: bytes, outcome: object) -> None:
        """Keep an input whose outcome is the first of its kind: the next begin from there."""
        if outcome not in self._outcomes:
            self._outcomes.add(outcome)
            if len(self._kept) < _MOST_KEPT:
                self._kept.append(data)

    @property
    def outcomes(self) -> int:
        """How many kinds of outcome were seen."""
        return len(self._outcomes)

    def _change(self, data: bytearray) -> None:
        random = self._random
        size = len(data)
        at = int(random.random() * (size + 1))
        how = int(random.random() * 8)
        if how == 0 and at < size:
            data[at] ^= 1 << int(random.random() * 8)
        elif how == 1 and at < size:
            data[at] = _EDGES[int(random.random() * len(_EDGES))]
        elif how == 2:
            data[at:at] = self._tokens[int(random.random() * len(self._tokens))]
        elif how == 3:
            del data[at : at + 1 + int(random.random() * 8)]
        elif how == 4:  # again, once or many times
            piece = data[at : at + 1 + int(random.random() * 16)]
            data[at:at] = piece * (1 if random.random() < 0.8 else 40)
        elif how == 5:
            del data[at:]
        elif how == 6:  # go on as another one does
            other = self._kept[int(random.random() * len(self._kept))]
            data[at:] = other[int(random.random() * (len(other) + 1)) :]
        else:
            token = self._tokens[int(random.random() * len(self._tokens))]
            data[at : at + len(token)] = token


def cut(random: Random, data: bytes, most: int = 6) -> list[bytes]:
    """These bytes in a few pieces, or byte by byte."""
    size = len(data)
    if size < 2:
        return [data]
    if random.random() < 0.1:
        return [data[at : at + 1] for at in range(size)]
    places = sorted(int(random.random() * size) for _ in range(1 + int(random.random() * most)))
    return [
        data[start:end]
        for start, end in zip([0, *places], [*places, size], strict=True)
        if end > start
    ]

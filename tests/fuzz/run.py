"""The loop: inputs for a target until there were enough of them, or the time is over."""

from __future__ import annotations

import time
from random import Random
from typing import NamedTuple

from .mutation import Corpus
from .targets import Target

#: The seed of a run that names none.
SEED = 6455


class Run(NamedTuple):
    """What a run came to, where it found nothing."""

    inputs: int
    outcomes: int
    seconds: float


class Finding(Exception):
    """An input for which a target does not hold."""

    def __init__(self, target: Target, data: bytes, number: int, seed: int) -> None:
        super().__init__(f'{target.name}: input {number} of seed {seed}: {data!r}')
        self.data = data


def fuzz(
    target: Target, inputs: int | None = None, seconds: float | None = None, seed: int = SEED
) -> Run:
    """Give a target inputs; those of the same seed are the same.

    :param inputs: how many; None: as many as there is time for.
    :param seconds: how long; None: as long as it takes.
    :raises Finding: with the input, and the cause chained.
    """
    random = Random(f'{target.name} {seed}')
    corpus = Corpus(random, target.seeds, target.tokens, target.grown)
    begun = time.monotonic()
    number = 0
    while inputs is None or number < inputs:
        if seconds is not None and not number % 64 and time.monotonic() - begun >= seconds:
            break
        data = target.seeds[number] if number < len(target.seeds) else corpus.next()
        number += 1
        try:
            outcome = target.check(data, random)
        except Exception as error:
            raise Finding(target, data, number, seed) from error
        corpus.learn(data, outcome)
    return Run(number, corpus.outcomes, time.monotonic() - begun)

"""Every parser of what a server sends, with random inputs; `targets.py` has the invariants.

The seed is fixed, so that every run has the same inputs; `python -m tests.fuzz` takes another one.
ENGINEIO_GEVENT_FUZZ_INPUTS sets how many inputs each parser gets; `make test-all` runs 100,000.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from fuzz import targets
from fuzz.mutation import Corpus
from fuzz.run import Finding, fuzz

import support

INPUTS = int(os.environ.get('ENGINEIO_GEVENT_FUZZ_INPUTS', '10000'))
#: The standard library's cookie jar takes 0.3 ms for an input, the other parsers 0.05.
FEWER = {'cookies': INPUTS // 5}


@pytest.mark.time_limit(60 + INPUTS / 500)
@pytest.mark.parametrize('target', targets.TARGETS, ids=lambda target: target.name)
def test_inputs_of_chance(target):
    if target is targets.COMPILED:
        support.need_extension()
    inputs = FEWER.get(target.name, INPUTS)
    run = fuzz(target, inputs)
    assert run.inputs == inputs
    # a generator that reaches the first check alone proves nothing
    assert run.outcomes > {'handshake': 20}.get(target.name, 50)


@pytest.mark.parametrize('target', targets.TARGETS, ids=lambda target: target.name)
def test_the_same_seed_makes_the_same_inputs(target):
    def inputs(seed):
        seen = []
        other = target._replace(check=lambda data, random: seen.append(data))
        fuzz(other, 200, seed=seed)
        return seen

    assert inputs(1) == inputs(1) != inputs(2)


@pytest.mark.parametrize('target', targets.TARGETS, ids=lambda target: target.name)
def test_inputs_are_of_many_kinds(target):
    corpus = Corpus(Random(1), target.seeds, target.tokens, target.grown)
    made = {corpus.next() for _ in range(1000)}
    assert len(made) > 600
    assert max(map(len, made)) <= 8192


def test_a_finding_tells_the_input():
    def check(data, random):
        if b'\x81' in data:
            raise ValueError('found it')
        return len(data)

    target = targets.FRAMES._replace(check=check, seeds=[b'', b'\x00\x81'])
    with pytest.raises(Finding, match='input 2 of seed 7') as caught:
        fuzz(target, 10, seed=7)
    assert caught.value.data == b'\x00\x81'
    assert isinstance(caught.value.__cause__, ValueError)


def test_it_ends_in_time():
    assert fuzz(targets.TEXT, seconds=0.05).seconds < support.patience(2)

"""The guard against regressions: ratios to others of the same run, never a time."""

from __future__ import annotations

import json
from pathlib import Path

from .results import Results
from .systems import FLOOR, UPSTREAM

#: Whom this client is compared with. A regression of ours is one to both; a machine that is slow
#: at what one of them does is none: the same flood of messages took 0.07 of python-engineio's time
#: on one and 0.13 on another, and 1.7 times the bare loop's on both.
PEERS = (UPSTREAM, FLOOR)
#: How many times a ratio may be its stored one.
TOLERANCE = 1.5
#: Rounds of what is measured once more. On a shared machine the ratio of one round to the next
#: differs by a factor of up to 2; that of the medians of five stays within the tolerance.
REPEAT_ROUNDS = 5
#: Where the stored ratios are.
BASELINE = Path(__file__).with_name('baseline.json')

#: By the name of the row, ours divided by each peer's.
Ratios = dict[str, dict[str, float]]


def ratios(results: Results) -> Ratios:
    """Those of a run."""
    found: Ratios = {}
    for row in results.rows():
        if row.figure.guarded:
            for peer in PEERS:
                ratio = row.ratio(peer)
                if ratio is not None:
                    found.setdefault(row.name, {})[peer] = round(ratio, 4)
    return found


def write(results: Results, path: Path) -> None:
    """Store the ratios of a run; of one that is stored already, the higher.

    Machines differ: the flood of sends had a ratio of 0.10 on one and 0.19 on another.
    """
    known = read(path) if path.exists() else {}
    for name, found in ratios(results).items():
        stored = known.setdefault(name, {})
        for peer, ratio in found.items():
            stored[peer] = max(ratio, stored.get(peer, 0.0))
    stored_now = {'about': results.about, 'ratios': known}
    path.write_text(json.dumps(stored_now, indent=1) + '\n', encoding='utf-8')


def read(path: Path) -> Ratios:
    """The stored ratios."""
    stored: Ratios = json.loads(path.read_text(encoding='utf-8'))['ratios']
    return stored


def worse(results: Results, baseline: Ratios) -> dict[str, dict[str, tuple[float, float]]]:
    """The rows that are clearly worse than stored: by peer, the ratio and the stored one."""
    found = {}
    for name, by_peer in ratios(results).items():
        stored = baseline.get(name, {})
        pairs = {peer: (ratio, stored[peer]) for peer, ratio in by_peer.items() if peer in stored}
        if pairs and all(ratio > TOLERANCE * before for ratio, before in pairs.values()):
            found[name] = pairs
    return found

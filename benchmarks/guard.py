"""The guard against regressions. It compares ratios to other systems of one run, never times."""

from __future__ import annotations

import json
from pathlib import Path

from .results import Results
from .systems import FLOOR, UPSTREAM

#: The systems to compare with. A regression of this package shows in the ratios to both. If only
#: one ratio differs, the machines differ: the same flood took 0.07 of python-engineio's time on one
#: machine and 0.13 on another, and 1.7 times the bare loop's on both.
PEERS = (UPSTREAM, FLOOR)
#: The highest accepted factor between a ratio and the stored one.
TOLERANCE = 1.5
#: Rounds of the second measurement. On a shared machine the ratios of two single rounds differ by a
#: factor of up to 2. The ratio of the medians of five rounds stays within the tolerance.
REPEAT_ROUNDS = 5
#: The file of the stored ratios.
BASELINE = Path(__file__).with_name('baseline.json')

#: By name of the row and by peer: engineio_gevent's figure divided by the peer's.
Ratios = dict[str, dict[str, float]]


def ratios(results: Results) -> Ratios:
    """The guarded ratios of a run."""
    found: Ratios = {}
    for row in results.rows():
        if row.figure.guarded:
            for peer in PEERS:
                ratio = row.ratio(peer)
                if ratio is not None:
                    found.setdefault(row.name, {})[peer] = round(ratio, 4)
    return found


def write(results: Results, path: Path) -> None:
    """Store the ratios of a run. A stored ratio that is higher is kept.

    Machines differ: the ratio of sends was 0.10 on one machine and 0.19 on another.
    """
    known = read(path) if path.exists() else {}
    for name, found in ratios(results).items():
        stored = known.setdefault(name, {})
        for peer, ratio in found.items():
            stored[peer] = max(ratio, stored.get(peer, 0.0))
    stored_now = {'about': results.about, 'ratios': known}
    path.write_text(json.dumps(stored_now, indent=1) + '\n', encoding='utf-8')


def read(path: Path) -> Ratios:
    """Read the stored ratios."""
    stored: Ratios = json.loads(path.read_text(encoding='utf-8'))['ratios']
    return stored


def worse(results: Results, baseline: Ratios) -> dict[str, dict[str, tuple[float, float]]]:
    """Find the rows that are clearly slower than stored.

    :returns: by row and peer, the ratio and the stored ratio.
    """
    found = {}
    for name, by_peer in ratios(results).items():
        stored = baseline.get(name, {})
        pairs = {peer: (ratio, stored[peer]) for peer, ratio in by_peer.items() if peer in stored}
        if pairs and all(ratio > TOLERANCE * before for ratio, before in pairs.values()):
            found[name] = pairs
    return found

"""A library that grows: whether the facesets of months stay right when later photos are clustered beside them.

Run     python benchmarks/growth.py --keep DIR [--months 6] [--sets family-40,...]
        DIR keeps the embeddings of the labelled photos, see identities.py
How     the photos are dealt out to the months; each month is clustered over all photos so far with the facesets that
        there are, its new facesets are kept, and what it finds for older ones is added, as `extend` does
Prints  the figures of identities.py after the last month, beside those of all photos at once; ambiguous: faces between
        two facesets, which are in neither; then those of all seeds of a made-up kind together
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import generated  # noqa: E402
import identities as figures  # noqa: E402
from truth import Set, part, sets  # noqa: E402

from facesets.cluster import identities  # noqa: E402
from facesets.formats import cache  # noqa: E402
from facesets.formats.faceset import Faceset  # noqa: E402
from facesets.formats.vectors import unit_mean  # noqa: E402

SETS = "insightface_small-plain,family-40,kin-40,strangers-40,years-40"


def grown(whole: Set, months: int) -> tuple[list[np.ndarray], int]:
    """The facesets after so many months, rows of each, and how many faces the last one called ambiguous."""
    rows, rules = whole.rows, figures.rules_of(whole)
    keys = cache.face_keys(whole.caches[0])
    number = {key: row for row, key in enumerate(keys)}
    month = np.random.default_rng(0).integers(months, size=whole.photos.max() + 1)[whole.photos]
    facesets: list[np.ndarray] = []
    ambiguous = 0
    for now in range(months):
        known = [_faceset(at, rows[some], [keys[row] for row in some]) for at, some in enumerate(facesets)]
        so_far = part(whole.caches[0], np.flatnonzero(month <= now))
        made = identities.propose([so_far], known, rules, run="", made_by="", created="")
        for at, identity in enumerate(known):
            more = [number[face.face] for face in made.extend.get(identity.folder, ())]
            facesets[at] = np.concatenate([facesets[at], np.array(more, np.int64)])
        facesets += [np.array([number[face.face] for face in group.faces]) for group in made.facesets]
        ambiguous = len(made.ambiguous)
    return facesets, ambiguous


def _faceset(at: int, rows: np.ndarray, keys: Sequence[str]) -> Faceset:
    made = Faceset(f"faceset_{at + 1:03}", unit_mean(rows), at + 1)
    vars(made)["face_keys"] = frozenset(keys)       # as if it had been read
    return made


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder of photos and embeddings, made where missing")
    parser.add_argument("--sets", default=SETS, help="names of sets, comma-separated")
    parser.add_argument("--months", type=int, default=6)
    args = parser.parse_args(argv)
    made_up: dict[str, list[tuple[figures.Figures, figures.Figures]]] = {}
    for name, whole in sets(args.keep, args.sets.split(",")):
        facesets, ambiguous = grown(whole, args.months)
        at_once, by_month = figures.judge(figures.ours(whole), whole), figures.judge(facesets, whole)
        print(f"{name}\n  at once       {at_once}\n  in {args.months:2} months  {by_month}, ambiguous {ambiguous}",
              flush=True)
        made_up.setdefault(name.rpartition("-")[0], []).append((at_once, by_month))
    for kind in filter(made_up.get, generated.KINDS):
        at_once, by_month = map(figures.summed, zip(*made_up[kind], strict=True))
        print(f"{kind}, of all seeds\n  at once       {at_once}\n  in {args.months:2} months  {by_month}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

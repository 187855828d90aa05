"""How right the facesets are that an operator gets: of labelled photos, spoiled ones, and made-up libraries.

Run     python benchmarks/identities.py --keep DIR                      the report; DIR keeps the embeddings
        python benchmarks/identities.py --keep DIR --without            it again without each of the rules
        python benchmarks/identities.py --keep DIR --usual              recall against purity, beside the usual methods
        python benchmarks/identities.py --keep DIR --oracle             the ceiling: by everybody's true centroid
        python benchmarks/identities.py --keep DIR --choose             how the shares of rules.py were chosen
        python benchmarks/identities.py --keep DIR --strangers          distances that a library gives by itself
        python benchmarks/identities.py --keep DIR --like               what the made-up libraries were made after
        ... --sets insightface_small-plain,strangers-10                 some of the sets alone
Reads   ../shared/photos, ../shared/models; truth.py has the sets
Judged  distances are fitted on half of the people of the plain photos of insightface_small, shares chosen on the other
        half and on made-up libraries of other seeds than the report's; docs/identities.md says how far that held.
Prints  pure: facesets of one person only, and mostly of that person (a faceset of faces that have no person in common
        is impure); wrong: named faces in somebody else's; strangers: faces without a name in facesets; recall: faces of
        people with six or more in a faceset of their own; split: people with two facesets; glued: people most of whose
        faces lie in somebody else's; F, B: pairwise and BCubed F, faces without a name not scored
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import generated  # noqa: E402
import labelled  # noqa: E402
from truth import LIKE, Set, halves, one, sets  # noqa: E402
from usual_methods import USUAL  # noqa: E402

from facesets.cluster import calibrate, groups, identities, merging  # noqa: E402
from facesets.cluster.known import match  # noqa: E402
from facesets.cluster.linkage import members_of  # noqa: E402
from facesets.cluster.measures import bcubed, pairwise  # noqa: E402
from facesets.cluster.rules import Rules  # noqa: E402
from facesets.formats import cache  # noqa: E402
from facesets.formats.vectors import unit_mean  # noqa: E402

FIT = (0, 1)                        # seeds of made-up libraries that shares are chosen on
LEAST, PHOTOS = 6, 3                # faces and photos of a faceset
PURE = 0.995                        # share of pure facesets that is asked for
REACH = tuple(np.arange(0.3, 0.9, 0.05).round(2))


# ---------------------------------------------------------------- the figures

@dataclass
class Figures:
    facesets: int
    pure: int
    wrong: int
    strangers: int
    found: int          # faces of people with LEAST faces that lie in their own faceset
    wanted: int         # all faces of those people
    split: int
    glued: int
    pairwise: float
    bcubed: float

    @property
    def purity(self) -> float:
        return self.pure / max(1, self.facesets)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.wanted)

    def __str__(self) -> str:
        return (f"pure {self.purity:.4f} of {self.facesets:4}, wrong {self.wrong:3}, strangers {self.strangers:3}, "
                f"recall {self.recall:.4f}, split {self.split}, glued {self.glued}, F {self.pairwise:.3f}, "
                f"B {self.bcubed:.3f}")


def judge(facesets: Sequence[np.ndarray], truth: Set) -> Figures:
    """`facesets`: rows of each."""
    names = truth.names
    size = Counter(names[names != ""].tolist())
    placed = np.full(len(names), -1)
    of: Counter[str] = Counter()
    pure = wrong = strangers = found = glued = 0
    for number, rows in enumerate(facesets):
        placed[rows] = number
        counts = Counter(names[rows][names[rows] != ""].tolist())
        strangers += int((truth.judged[rows] & (names[rows] == "")).sum())
        who, most = counts.most_common(1)[0] if counts else ("", 0)
        pure += len(counts) == 1 and 2 * most >= len(rows)
        wrong += counts.total() - most
        glued += sum(2 * count > size[name] >= LEAST for name, count in counts.items() if name != who)
        if size[who] >= LEAST:
            found += most
            of[who] += 1
    scored = np.flatnonzero(names != "")
    labels = np.where(placed[scored] >= 0, placed[scored], len(names) + scored)
    people = np.unique(names[scored].astype(str), return_inverse=True)[1]
    return Figures(len(facesets), pure, wrong, strangers, found, sum(n for n in size.values() if n >= LEAST),
                   sum(many > 1 for many in of.values()), glued, pairwise(labels, people).f, bcubed(labels, people).f)


def summed(figures: Sequence[Figures]) -> Figures:
    """Counts added up, F as means."""
    columns = {item.name: [getattr(figure, item.name) for figure in figures] for item in fields(Figures)}
    return Figures(**{name: sum(column) if name not in ("pairwise", "bcubed") else float(np.mean(column))
                      for name, column in columns.items()})


# ---------------------------------------------------------------- ours and theirs

def rules_of(whole: Set) -> Rules:
    model = whole.caches[0].model
    return Rules(known_distance=model.known_distance, cluster_distance=model.cluster_distance)


def ours(whole: Set, rules: Rules | None = None) -> list[np.ndarray]:
    """The facesets of a first run over all caches, as cluster_immich.py proposes them."""
    made = identities.propose(whole.caches, (), rules or rules_of(whole), run="", made_by="", created="")
    row = {key: number for number, key in enumerate(key for one in whole.caches for key in cache.face_keys(one))}
    return [np.array([row[face.face] for face in group.faces]) for group in made.facesets]


def theirs(whole: Set, labels: np.ndarray) -> list[np.ndarray]:
    """Clusters that are large enough, as they are."""
    photos = whole.photos
    return [rows for rows in members_of(labels, LEAST) if len(set(photos[rows])) >= PHOTOS]


def oracle(whole: Set) -> list[Figures]:
    """What whoever knew everybody's centroid would find: each face is the nearest one's, within each distance of REACH;
    then the same where dim faces may be farther and very dim ones are nobody's, as with our rules.
    """
    named = np.flatnonzero(whole.names != "")
    people, who = np.unique(whole.names[named].astype(str), return_inverse=True)
    rows, alone = whole.rows, len(people) + np.arange(len(whole.names))
    found, rules = match(rows, np.stack([unit_mean(rows[named[faces]]) for faces in members_of(who)])), rules_of(whole)
    far = found.distance * rules.known_distance / rules.near(rules.clear(whole.clarity))
    far[whole.clarity < rules.min_clarity] = np.inf
    return [judge(theirs(whole, np.where(distance <= reach, found.nearest, alone)), whole)
            for distance in (found.distance, far) for reach in REACH]


def usual(whole: Set) -> None:
    """Of each method the highest recall at a purity at least as high as ours, or as near to ours as it comes."""
    own = judge(ours(whole), whole)
    print(f"  {'ours':18} {own}", flush=True)
    fine = whole.clarity >= Rules().min_clarity
    for gated in (False, True):
        rows = np.flatnonzero(fine) if gated else np.arange(len(whole.rows))
        for name, method in USUAL.items():
            lines = []
            for parameter, found in method(whole.rows[rows]):
                labels = len(whole.rows) + np.arange(len(whole.rows))
                labels[rows] = found
                lines.append((judge(theirs(whole, np.unique(labels, return_inverse=True)[1]), whole), parameter))
            best, parameter = max(lines, key=lambda line: (min(line[0].purity, own.purity), line[0].recall))
            print(f"  {name + (', our gate' if gated else ''):26} at {parameter!s:5} {best}", flush=True)
            print("     purity/recall " + " ".join(f"{line.purity:.3f}/{line.recall:.3f}" for line, _ in lines))


def without(whole: Set) -> dict[str, Rules]:
    """The rules without each of them."""
    all_of = rules_of(whole)
    return {"all of the rules": all_of, "clear and dim alike": replace(all_of, clear_closer=0, dim_farther=0),
            "clear ones linked alike": replace(all_of, linked_closer=0),
            "identities merge as near as faces": replace(all_of, merge_closer=all_of.clear_closer),
            "dim ones no farther": replace(all_of, dim_farther=0),
            "dim ones found too": replace(all_of, founding_clarity=0),
            "no gate for dim ones": replace(all_of, min_clarity=0, founding_clarity=0),
            "very dim ones left out": replace(all_of, min_clarity=all_of.telling_clarity),
            "without joining": replace(all_of, known_margin=9.0),
            "few joined as near as many": replace(all_of, few_closer=0),
            "several joined as near as one": replace(all_of, several_closer=0),
            "none joined from afar": replace(all_of, alone_farther=0),
            "without photo penalty": replace(all_of, photo_penalty=0),
            "without photo veto": replace(all_of, photo_veto=9.0),
            "a veto by one photo": replace(all_of, veto_photos=1),
            "twins by two photos": replace(all_of, twin_photos=2),
            "min_short 40": replace(all_of, min_short=40)}


MERGE = merging.merge
STEPS = {"mirrors are two people": ("apart", lambda rows, photos, rules: photos),
         "twins are one person": ("part_twins", lambda rows, photos, labels, rules: labels),
         "every copy a sign of twins": ("SITTING", 2.0),
         "times of one person apart": ("merge", lambda *given: given[2] if len(given) > 5 else MERGE(*given)),
         "without merging": ("merge", lambda rows, photos, labels, *_: labels)}


def ablation(listed: Sequence[tuple[str, Set]]) -> None:
    for rule in without(listed[0][1]):
        lines = [judge(ours(whole, without(whole)[rule]), whole) for _, whole in listed]
        print(f"  {rule:33} {summed(lines)}", flush=True)
    for rule, (step, instead) in STEPS.items():
        places = [module for module in (merging, groups, identities) if hasattr(module, step)]
        before = getattr(merging, step)
        for module in places:
            setattr(module, step, instead)
        print(f"  {rule:33} {summed([judge(ours(whole), whole) for _, whole in listed])}", flush=True)
        for module in places:
            setattr(module, step, before)


def turns(whole: Set) -> None:
    """Two users: what each gets alone, against both caches together."""
    names = [set(), set()]      # type: list[set[str]]
    for together in (False, True):
        parts = [whole] if together else [
            Set([one], whole.names[rows], whole.judged[rows]) for one, rows in zip(
                whole.caches, np.split(np.arange(len(whole.names)), [len(whole.caches[0].faces)]), strict=True)]
        for some in parts:
            for rows in ours(some):
                names[together] |= {Counter(some.names[rows]).most_common(1)[0][0]}
    worth = {name for name, count in Counter(whole.names).items() if name and count >= LEAST}
    print(f"  people with a faceset: {len(names[0] & worth)} of {len(worth)} where each user is alone, "
          f"{len(names[1] & worth)} where both are looked at together")


def choose(keep: Path) -> None:
    """Distances fitted on one half of the people; then each share on the other half and on made-up libraries."""
    fit, rest = halves(one(keep, LIKE))
    people = np.where(fit.names == "", -1, np.unique(fit.names.astype(str), return_inverse=True)[1])
    found = calibrate.calibrate(fit.rows, people, fit.photos, fit.clarity)
    print(f"half of the people choose known {found.known_distance}, cluster {found.cluster_distance}; config.py has "
          f"{fit.caches[0].model.known_distance}, {fit.caches[0].model.cluster_distance}")
    chosen_on = [rest, *(one(keep, f"{kind}-{seed}") for kind in generated.KINDS for seed in FIT)]
    for share, values in (("clear_closer", (0.09, 0.18, 0.27)), ("dim_farther", (0, 0.05, 0.09)),
                          ("linked_closer", (0.18, 0.27, 0.36)), ("merge_closer", (0.27, 0.32, 0.36)),
                          ("min_clarity", (0.5, 0.6, 0.7)), ("telling_clarity", (0.65, 0.7, 0.75)),
                          ("founding_clarity", (0.75, 0.85, 0.95)),
                          ("full_clarity", (1.0, 1.1, 1.2))):
        for value in values:
            line = summed([judge(ours(some, replace(rules_of(some), **{share: value})), some) for some in chosen_on])
            print(f"  {share} {value:<5} {line}", flush=True)


def strangers(keep: Path) -> None:
    """The distances that strangers give, out of each kind of photos, beside those of config.py."""
    for pack in labelled.PACKS:
        for kind in labelled.KINDS:
            whole = one(keep, f"{pack}-{kind}")
            model = whole.caches[0].model
            print(f"  {pack} {kind:9} {calibrate.from_strangers(whole.rows, whole.photos, whole.clarity)}, "
                  f"config.py {model.known_distance}, {model.cluster_distance}")


def like(keep: Path) -> None:
    """Cosine to the person's centroid by clarity, without the face itself: of the labelled photos, and by NOISE."""
    whole = one(keep, LIKE)
    sums = {name: whole.rows[whole.names == name].sum(axis=0) for name, faces in Counter(whole.names).items()
            if name and faces >= LEAST}
    own = np.array([whole.rows[row] @ (rest := sums[name] - whole.rows[row]) / np.linalg.norm(rest) if name in sums
                    else np.nan for row, name in enumerate(whole.names)])
    for low in np.arange(0.6, 1.3, 0.1):
        some = own[(whole.clarity >= low) & (whole.clarity < low + 0.1) & ~np.isnan(own)]
        expected = np.sqrt(max(0, 1 - (generated.NOISE / (low + 0.05)) ** 2))
        print(f"  clarity {low:.1f}: {len(some):4} faces, median cosine {np.median(some):.2f}, expected {expected:.2f}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder of photos and embeddings, made where missing")
    parser.add_argument("--sets", default="", help="names of sets, comma-separated; all of the report otherwise")
    parts: dict[str, Callable[[Path], None]] = {"choose": choose, "like": like, "strangers": strangers}
    for mode in ("without", "usual", "oracle", *parts):
        parser.add_argument(f"--{mode}", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if not labelled.SHARED.is_dir():
        print(f"{labelled.SHARED} is absent: nothing to measure with")
        return 1
    for mode, work in parts.items():
        if getattr(args, mode):
            work(args.keep)
            return 0
    listed = list(sets(args.keep, [name for name in args.sets.split(",") if name]))
    if args.without:
        ablation(listed)
    made_up: dict[str, list[Figures]] = {}
    ceiling: dict[str, list[list[Figures]]] = {}
    for name, whole in [] if args.without else listed:
        print(f"{name}, {len(whole.names)} faces", flush=True)
        if args.usual:
            usual(whole)
        elif args.oracle:
            ceiling.setdefault(name.rpartition("-")[0], []).append(oracle(whole))
        else:
            found = judge(ours(whole), whole)
            print(f"  {found}", flush=True)
            made_up.setdefault(name.rpartition("-")[0], []).append(found)
            if len(whole.caches) > 1:
                turns(whole)
    for kind, of_sets in ceiling.items():
        lines = [summed(figures) for figures in zip(*of_sets, strict=True)]
        best = max((line for line in lines if line.purity >= PURE), key=lambda line: line.recall)
        print(f"{kind}, by everybody's true centroid\n  {best}")
    for kind in filter(made_up.get, generated.KINDS):
        print(f"{kind}, of all seeds\n  {summed(made_up[kind])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

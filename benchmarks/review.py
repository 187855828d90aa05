"""How fast a review makes a library right: a simulated reviewer who knows the truth, on labelled and made-up libraries.

Run     python benchmarks/review.py --keep DIR          shares of faces that lie right against the number of answers: in
                                                        the order of the review, beside random order and largest first
        python benchmarks/review.py --keep DIR --fit    the curves of questions.py, and how right they are
        python benchmarks/review_keys.py                keys, seconds of the server and of a person, in a real browser
Reads   DIR as benchmarks/identities.py keeps it
Judged  The curves are fitted on two recognisers and on made-up libraries of six seeds, the review is shown on a third
        recogniser and two other seeds. That photos which show both people count was seen on seed 10, and not on 11.
Prints  right: faces that lie with the person that most of their faceset are, and in her largest faceset, as it is;
        expected: what the review says of it; pure and recall: the two parts of `right`
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import generated  # noqa: E402
import labelled  # noqa: E402
from identities import rules_of  # noqa: E402
from truth import LIKE, REPORT, one  # noqa: E402

from facesets.cluster import identities  # noqa: E402
from facesets.formats import cache  # noqa: E402
from facesets.review import answers, questions  # noqa: E402
from facesets.review.people import Loose, Person  # noqa: E402
from facesets.review.questions import Books, Question, alike, ask, outlook  # noqa: E402

STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200)
KINDS = ("plain", "soft", "mirrored")
TOO_LOOSE = (1.0, 1.12, 1.25)   # of the thresholds: what clusters well has few mistakes to learn from
FIT = range(6)                  # seeds
PRIORS = (0.001, 0.01, 0.1)     # of which the one is taken that tells best of a set what was fitted on the others


@dataclass
class Case:
    """The library that clustering makes; truth: face -> who, a name of its own for everybody without one."""

    name: str
    books: Books
    truth: dict[str, str]


def cases(keep: Path, fit: bool) -> Iterator[Case]:
    packs = [pack for pack in labelled.PACKS if LIKE.startswith(pack) != fit]
    names = [f"{pack}-{kind}" for pack in packs for kind in KINDS]
    names += [f"{kind}-{seed}" for seed in (FIT if fit else REPORT) for kind in generated.KINDS]
    for name in names:
        whole = one(keep, name)
        for loose in TOO_LOOSE if fit else TOO_LOOSE[:1]:
            yield case(f"{name} x {loose}", whole, loose)


def case(name: str, whole, loose: float) -> Case:  # type: ignore[no-untyped-def]
    rules = rules_of(whole)
    rules = type(rules)(**{**vars(rules), "known_distance": rules.known_distance * loose,
                           "cluster_distance": rules.cluster_distance * loose})
    made = identities.propose(whole.caches, [], rules, run="", made_by="", created="")
    keys = [key for store in whole.caches for key in cache.face_keys(store)]
    place = {key: row for row, key in enumerate(keys)}
    rows = np.concatenate([store.embeddings for store in whole.caches])
    truth = {key: str(whole.names[row]) or f"stranger {row}" for key, row in place.items()}
    known = whole.caches[0].model.known_distance

    photos = {key: key[:64] for key in keys}

    def faces(group) -> tuple[tuple[str, ...], np.ndarray]:  # type: ignore[no-untyped-def]
        mine = tuple(face.face for face in group.faces if whole.judged[place[face.face]])
        return mine, rows[[place[key] for key in mine]]
    people = [Person(f"faceset_{number:03d}", *faces(group), photos=photos)
              for number, group in enumerate(made.facesets, 1)]
    groups = {group.faces[0].face: Loose(group.faces[0].face, *faces(group), reason=group.reason)
              for group in made.thin}
    return Case(name, Books({item.folder: item for item in people if item.faces},
                            {name: item for name, item in groups.items() if item.faces}, known=known), truth)


def logistic(table: np.ndarray, is_so: np.ndarray, prior: float) -> np.ndarray:
    """The curve that is likeliest, by Newton's method; `prior` holds it back where nothing speaks against endless."""
    curve = np.zeros(table.shape[1])
    for _ in range(200):
        chance = 1 / (1 + np.exp(-np.clip(table @ curve, -40, 40)))
        bend = (table.T * (chance * (1 - chance))) @ table + prior * np.eye(len(curve))
        curve = curve - np.linalg.solve(bend, table.T @ (chance - is_so) + prior * curve)
    return curve


def surprise(table: np.ndarray, is_so: np.ndarray, curve: np.ndarray) -> float:
    """Minus the log-likelihood."""
    chance = np.clip(1 / (1 + np.exp(-table @ curve)), 1e-6, 1 - 1e-6)
    return float(-np.log(np.where(is_so, chance, 1 - chance)).sum())


def evidence(found: Case) -> Iterator[tuple[str, float, int, bool]]:
    """(curve, distance over known, photos that show both, whether it is so) of each face, faceset and pair."""
    books, truth = found.books, found.truth
    most = {folder: mostly(truth, person.faces) for folder, person in books.people.items()}
    for folder, person in books.people.items():
        one_half, other = ([person.faces[at] for at in half] for half in (person.halves.larger, person.halves.smaller))
        two = bool(other) and mostly(truth, one_half) != mostly(truth, other)
        if other:
            yield "TWO", person.halves.distance / books.known, person.side_by_side, two
        for face, apart in zip(person.faces, person.apart, strict=True) if not two else ():
            yield "WRONG", float(apart) / books.known, 0, truth[face] != most[folder]
        for other_folder, distance in books.around.of[folder]:
            if folder < other_folder or folder not in dict(books.around.of[other_folder]):
                yield ("SAME", distance / books.known, person.together(books.people[other_folder]),
                       most[folder] == most[other_folder])


def fit(fitted: Iterable[Case], shown: Iterable[Case]) -> None:
    tables = {}
    for what, found in (("fitted", fitted), ("shown", shown)):
        rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        sets: dict[str, int] = {}       # a library is in it with several thresholds
        for one_case in found:
            number = sets.setdefault(one_case.name.partition(" ")[0], len(sets))
            for curve, distance, photos, is_so in evidence(one_case):
                rows[curve].append((1, distance, min(photos, questions.OFTEN), number, is_so))
        tables[what] = {name: np.array(table, float) for name, table in rows.items()}
    for name, table in tables["fitted"].items():
        columns = 2 if name == "WRONG" else 3
        x, number, is_so = table[:, :columns], table[:, 3], table[:, 4] > 0
        told = {prior: sum(surprise(x[out], is_so[out], logistic(x[~out], is_so[~out], prior))
                           for out in (number == which for which in np.unique(number))) for prior in PRIORS}
        best = min(told, key=told.__getitem__)
        curve = logistic(x, is_so, best)
        print(f"{name}: Curve = {tuple(curve.round(1).tolist())}    from {len(x)}, {int(is_so.sum())} so; prior {best} "
              "of " + ", ".join(f"{prior}: {told[prior]:.1f}" for prior in PRIORS))
        x, is_so = tables["shown"][name][:, :columns], tables["shown"][name][:, 4] > 0
        said = 1 / (1 + np.exp(-x @ np.array(getattr(questions, name)[:columns])))
        for low, high in ((0, .02), (.02, .1), (.1, .3), (.3, .7), (.7, 1.01)):
            part = (said >= low) & (said < high)
            if part.any():
                print(f"    said {said[part].mean():.4f}, so {is_so[part].mean():.4f} of {int(part.sum())}")


def mostly(truth: dict[str, str], faces: Sequence[str]) -> str:
    return Counter(truth[face] for face in faces).most_common(1)[0][0]


def decide(books: Books, question: Question, truth: dict[str, str]) -> dict[str, object]:
    """What somebody who knows everybody answers."""
    loose = question.kind == "loose"
    faces = books.loose[question.about].faces if loose else books.people[question.about].faces
    who = mostly(truth, faces)
    for folder, _ in alike(books, question):
        if mostly(truth, books.people[folder].faces) == who:
            return {"do": "this-is" if loose else "merge", "of": question.about, "into": folder}
    if loose:
        return {"do": "leave", "of": question.about}
    if question.kind == "same":
        return {"do": "two-people", "of": question.about, "other": question.other}
    strangers = [face for face in faces if truth[face] != who]
    if len(strangers) > 2 and len({truth[face] for face in strangers}) == 1:
        return {"do": "split", "of": question.about, "faces": strangers}
    return {"do": "right", "of": question.about, "out": strangers}


def judge(books: Books, truth: dict[str, str]) -> tuple[float, float, float]:
    """Shares of the faces in facesets: right, in a faceset of theirs, and of those in their largest one."""
    largest: Counter[str] = Counter()
    own = wrong = 0
    for person in books.people.values():
        who = mostly(truth, person.faces)
        count = sum(truth[face] == who for face in person.faces)
        own, wrong = own + count, wrong + len(person.faces) - count
        largest[who] = max(largest[who], count)
    held = own + wrong
    return largest.total() / max(held, 1), own / max(held, 1), largest.total() / max(own, 1)


def simulate(found: Case, order: str, seed: int = 0) -> Iterator[tuple[int, float, float, float, float]]:
    """(answers, right, pure, recall, expected) before each answer, and at the end."""
    books, answered, rng = found.books, 0, np.random.default_rng(seed)
    while True:
        asked = ask(books)
        yield answered, *judge(books, found.truth), outlook(books, asked).right
        if not asked:
            return
        if order == "random":
            question = asked[rng.integers(len(asked))]
        elif order == "largest":
            question = max(asked, key=lambda item: (len(books.people[item.about].faces) if item.about in books.people
                                                    else 0, item.id))
        else:
            question = asked[0]
        books = answers.carry(books, answers.read(books, decide(books, question, found.truth)))
        answered += 1


def review(shown: Iterable[Case]) -> None:
    for found in shown:
        print(f"{found.name}: {len(found.books.people)} facesets, {len(found.books.loose)} thin groups, "
              f"{outlook(found.books, ask(found.books)).left} questions until it is expected to be 99.5 % right")
        for order in ("riskiest", "random", "largest"):
            every = list(simulate(found, order))
            enough = next((line[0] for line in every if line[1] >= questions.PURE), None)
            lines = [line for line in every if line[0] in STEPS or line is every[-1]]
            print(f"  {order:9} " + "  ".join(f"{line[0]}: {100 * line[1]:.1f}" for line in lines)
                  + f"    99.5 % by {enough}")
            if order == "riskiest":
                print("    pure    " + "  ".join(f"{line[0]}: {100 * line[2]:.1f}" for line in lines))
                print("    recall  " + "  ".join(f"{line[0]}: {100 * line[3]:.1f}" for line in lines))
                print("    expected " + "  ".join(f"{line[0]}: {100 * line[4]:.1f}" for line in lines))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="DIR", required=True)
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args(argv)
    if args.fit:
        fit(cases(args.keep, True), cases(args.keep, False))
    else:
        review(cases(args.keep, False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How right the identities are: ours against the usual methods, on labelled photos and on generated libraries.

Reads   ../shared/photos and ../shared/models (labelled photos, embedded here), ../shared/clustering/gen.py
Run     python benchmarks/identities.py --keep DIR          everything; DIR keeps the embeddings for the next time
        python benchmarks/identities.py --keep DIR --sets kin,real --splits 1
Each method chooses its parameter on half of the people and is reported on the other half, both ways and for several
splits; siblings stay in one half. Figures are pairwise F / BCubed F in thousandths, faces without a name not scored.
`kin` and the like are settings of the generator; `noise` is `real` with 30 % strangers and 10 % junk.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.cluster import DBSCAN, HDBSCAN

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = CHECKOUT.parent / "shared"
sys.path.insert(0, str(CHECKOUT))

import config  # noqa: E402
from facesets import cache, files  # noqa: E402
from facesets.cluster import calibrate, identities, merging  # noqa: E402
from facesets.cluster.gates import overlap  # noqa: E402
from facesets.cluster.known import Known, centroid  # noqa: E402
from facesets.cluster.linkage import average_linkage  # noqa: E402
from facesets.cluster.measures import bcubed, pairwise, served  # noqa: E402
from facesets.cluster.rules import Rules  # noqa: E402
from facesets.proposal import Proposal  # noqa: E402

PACKS = ("insightface_small", "embed_512", "opencv_zoo")
GENERATED = ("std", "hard", "kin", "real", "noise")
FACES = 4000            # of a generated library
DISTANCES = [round(0.40 + 0.025 * step, 3) for step in range(18)]
SAME_FACE = 0.3         # overlap from which a detected face is the labelled one
Labels = dict[object, np.ndarray]


@dataclass
class Faces:
    """N faces with the truth: people (N,), -1 unnamed; families (N,) is like people, siblings counting as one."""

    rows: np.ndarray
    people: np.ndarray
    photos: np.ndarray
    quality: np.ndarray
    families: np.ndarray

    def part(self, which: np.ndarray) -> "Faces":
        return Faces(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


# ---------------------------------------------------------------- the data

def generated(setting: str) -> Faces:
    spec = importlib.util.spec_from_file_location("gen", SHARED / "clustering" / "gen.py")
    assert spec and spec.loader
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    made = generator.make(FACES, seed=0, profile=setting) if setting != "noise" else generator.make(
        FACES, seed=1, profile="real", share_stranger=0.3, share_junk=0.1)
    number = np.arange(made.y.max() + 1)
    siblings = np.flatnonzero(made.sib >= 0)
    number[siblings] = np.minimum(siblings, made.sib[siblings])
    return Faces(made.X, made.y, made.photo, made.q, number[made.y])


def truth_of_photos() -> dict[str, dict]:
    """Photo, relative to the folder of the photos -> its label."""
    return {f"{part}/{name}": label for part in ("people", "groups") for name, label in
            sorted(json.loads((SHARED / "photos" / part / "labels.json").read_text()).items()) if "faces" in label}


def embedded(pack: str, keep: Path) -> cache.Cache:
    """The cache of all labelled photos, made by our own detector and recogniser if `keep` has none."""
    path = keep / f"{pack}.npz"
    if path.exists():
        return cache.read(path)
    from facesets.embed import decode, packs
    from facesets.embed.analyser import Analyser
    name = str(SHARED / "models" / pack) if pack != "opencv_zoo" else pack
    opened = packs.open_pack(name, keep)
    thresholds = config.MODELS[opened.recogniser.sha256]
    analyser = Analyser(opened, "cpu", (thresholds.known_distance, thresholds.cluster_distance), threads=2)
    photos, found = [], []
    for number, photo in enumerate(truth_of_photos()):
        bgr = decode.read_upright(SHARED / "photos" / photo)
        boxes, scores, landmarks = analyser.detect(bgr)
        photos.append(cache.Photo(photo, files.sha256_of(SHARED / "photos" / photo), "faces"))
        found += [(number, *face) for face in zip(boxes, scores, landmarks, analyser.embed(bgr, landmarks),
                                                  strict=True)]
    faces = np.zeros(len(found), cache.FACE)
    for column, field in enumerate(("photo", "box", "det_score", "landmarks")):
        faces[field] = [face[column] for face in found]
    faces["face_short"] = (faces["box"][:, 2:] - faces["box"][:, :2]).min(axis=1)
    faces["quality"], faces["blur"] = faces["det_score"], 99    # no pipeline here: not looked at
    raw = np.array([face[4] for face in found], np.float32)
    norms = np.linalg.norm(raw, axis=1)
    made = cache.Cache(analyser.model, photos, faces, raw / norms[:, None], norms)
    cache.write(path, made)
    return made


def who_is_who(made: cache.Cache) -> tuple[np.ndarray, np.ndarray]:
    """(N,) name of each face, "" for nobody in particular, and (N,) bool whether it counts at all."""
    truth = truth_of_photos()
    names, counts = np.full(len(made.faces), "", object), np.ones(len(made.faces), bool)
    for number, photo in enumerate(made.photos):
        ours = np.flatnonzero(made.faces["photo"] == number)
        labels = truth[photo.path]["faces"]
        boxes = [np.array([x, y, x + w, y + h]) for x, y, w, h in (face["box"] for face in labels)]
        pairs = sorted(((overlap(made.faces["box"][face], box), face, at) for face in ours
                        for at, box in enumerate(boxes)), key=lambda pair: -pair[0])
        taken: set[object] = set()
        for share, face, at in pairs:
            if share >= SAME_FACE and face not in taken and ("label", at) not in taken:
                taken |= {face, ("label", at)}
                names[face] = labels[at].get("identity") or ""
                counts[face] = not labels[at].get("ignore")
    return names, counts


def photographed(pack: str, keep: Path) -> Faces:
    made = embedded(pack, keep)
    names, counts = who_is_who(made)
    people = np.where(names == "", -1, np.unique(names.astype(str), return_inverse=True)[1])
    whole = Faces(made.embeddings, people, made.faces["photo"].astype(np.int64), made.faces["quality"], people)
    return whole.part(counts)


# ---------------------------------------------------------------- the methods

def ours(faces: Faces, rules: Rules | None = None) -> Labels:
    rules = rules or Rules()
    return {distance: merging.identities(faces.rows, faces.photos, calibrate.at_distance(rules, distance))
            for distance in DISTANCES}


def with_weights(faces: Faces) -> Labels:
    found: Labels = {}
    for distance in DISTANCES:
        rules = calibrate.at_distance(Rules(), distance)
        labels = average_linkage(faces.rows, distance, photos=faces.photos, penalty=rules.photo_penalty,
                                 weights=np.clip(faces.quality, 0.05, None))
        labels = merging.merge(faces.rows, faces.photos, labels, rules)
        found[distance] = merging.join(faces.rows, faces.photos, labels, rules)
    return found


def by_tree(method: str) -> Callable[[Faces], Labels]:
    def labels(faces: Faces) -> Labels:
        tree = hierarchy.linkage(squareform(apart(faces), checks=False), method)
        return {distance: hierarchy.fcluster(tree, distance, "distance") for distance in [*DISTANCES, 0.9, 0.95, 1.0]}
    return labels


def immich(faces: Faces) -> Labels:
    return {0.5: alone(DBSCAN(eps=0.5, min_samples=3, metric="precomputed").fit_predict(apart(faces)))}


def dbscan(faces: Faces) -> Labels:
    return {(distance, least): alone(DBSCAN(eps=distance, min_samples=least, metric="precomputed")
                                     .fit_predict(apart(faces))) for distance in DISTANCES for least in (2, 3)}


def hdbscan(faces: Faces) -> Labels:
    return {(size, least): alone(HDBSCAN(min_cluster_size=size, min_samples=least, metric="precomputed", copy=True)
                                 .fit_predict(apart(faces))) for size in (2, 3, 5) for least in (1, 2)}


def chinese_whispers(faces: Faces) -> Labels:
    return {distance: whisper(faces.rows @ faces.rows.T, 1 - distance) for distance in DISTANCES}


def whisper(similar: np.ndarray, least: float, rounds: int = 20) -> np.ndarray:
    """Each face takes the label that weighs most among its neighbours, in random order, until none changes."""
    rng, labels = np.random.default_rng(0), np.arange(len(similar))
    np.fill_diagonal(similar, -1)
    near = [np.flatnonzero(row >= least) for row in similar]
    for _ in range(rounds):
        before = labels.copy()
        for face in rng.permutation(len(similar)):
            if len(near[face]):
                names, number = np.unique(labels[near[face]], return_inverse=True)
                labels[face] = names[np.bincount(number, similar[face, near[face]]).argmax()]
        if np.array_equal(before, labels):
            break
    return labels


def apart(faces: Faces) -> np.ndarray:
    distance = np.clip(1 - faces.rows.astype(np.float64) @ faces.rows.T.astype(np.float64), 0, 2)
    np.fill_diagonal(distance, 0)
    return (distance + distance.T) / 2


def alone(labels: np.ndarray) -> np.ndarray:
    """Noise, -1, as clusters of one."""
    return np.where(labels < 0, labels.max(initial=0) + 1 + np.arange(len(labels)), labels)


METHODS: Mapping[str, Callable[[Faces], Labels]] = {
    "ours": ours, "average linkage": by_tree("average"), "complete linkage": by_tree("complete"),
    "DBSCAN as Immich": immich, "DBSCAN": dbscan, "HDBSCAN": hdbscan, "Chinese whispers": chinese_whispers}
WITHOUT: Mapping[str, Callable[[Faces], Labels]] = {
    "ours": ours, "without photo penalty": lambda faces: ours(faces, replace(Rules(), photo_penalty=0.0)),
    "without merging": lambda faces: ours(faces, replace(Rules(), merge_distance=-9.0)),
    "without joining": lambda faces: ours(faces, replace(Rules(), join_distance=-9.0)),
    "join without margin": lambda faces: ours(faces, replace(Rules(), join_margin=0.0)),
    "with quality weights": with_weights}


# ---------------------------------------------------------------- the comparison

def crossed(faces: Faces, methods: Mapping[str, Callable[[Faces], Labels]],
            splits: int) -> Iterator[tuple[str, float, float, list[object]]]:
    """Of each method pairwise F and BCubed F on the half that did not choose, and what was chosen."""
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    chosen: dict[str, list[object]] = {name: [] for name in methods}
    for seed in range(splits):
        sides = [faces.part(half) for half in calibrate.halves(faces.families, faces.photos, seed)]
        for name, method in methods.items():
            tables = [{parameter: scored(labels, side) for parameter, labels in method(side).items()} for side in sides]
            for mine, theirs in (tables, tables[::-1]):
                best = max(mine, key=lambda parameter: sum(mine[parameter]))
                scores[name].append(theirs[best])
                chosen[name].append(best)
    for name in methods:
        yield (name, *np.mean(scores[name], axis=0), chosen[name])


def scored(labels: np.ndarray, faces: Faces) -> tuple[float, float]:
    named = faces.people >= 0
    return pairwise(labels[named], faces.people[named]).f, bcubed(labels[named], faces.people[named]).f


def compare(sets: Mapping[str, Faces], methods: Mapping[str, Callable[[Faces], Labels]], splits: int) -> None:
    for name, faces in sets.items():
        print(f"{name}, {len(faces.rows)} faces: chosen on one half, scored on the other", flush=True)
        for method, pair, cubed, chosen in crossed(faces, methods, splits):
            at = ", ".join(map(str, chosen))
            print(f"  {method:22} {1000 * pair:4.0f} / {1000 * cubed:4.0f}   at {at}", flush=True)


def glued_siblings(faces: Faces, rules: Rules) -> tuple[int, int]:
    """Pairs of siblings of 6 faces or more whose largest clusters are one, and all such pairs."""
    labels = merging.identities(faces.rows, faces.photos, rules)
    largest = {int(who): int(np.bincount(labels[faces.people == who]).argmax()) for who in np.unique(faces.people)
               if (faces.people == who).sum() >= 6}
    families: dict[int, list[int]] = {}
    for who in largest:
        families.setdefault(int(faces.families[faces.people == who][0]), []).append(who)
    pairs = [pair for pair in families.values() if len(pair) == 2]
    return sum(largest[one] == largest[other] for one, other in pairs), len(pairs)


# ---------------------------------------------------------------- as an operator gets it

def operated(made: cache.Cache) -> None:
    """The protocol of the photos: some people known by three photos each, everybody else to be found."""
    names, counts = who_is_who(made)
    keys = cache.face_keys(made)
    name_of = {key: name if count else None for key, name, count in zip(keys, names, counts, strict=True)}
    protocol = json.loads((SHARED / "photos" / "people" / "protocol.json").read_text())["known"]
    paths = [made.photos[number].path for number in made.faces["photo"]]
    known = []
    for name, references in sorted(protocol.items()):
        which = [face for face, path in enumerate(paths) if names[face] == name
                 and path.removeprefix("people/") in references]
        if which:
            known.append(Known(name, centroid(made.embeddings[which]), frozenset(keys[face] for face in which)))
    base, model = Rules(), made.model
    rules = replace(calibrate.at_distance(base, model.cluster_distance), known_distance=model.known_distance,
                    spread=model.known_distance - 0.05)
    result = identities.propose([made], known, rules, run="", made_by="", created="")
    report(model, result, name_of, {key: one.folder for one in known for key in one.faces})


def report(model: cache.Model, result: Proposal, name_of: dict[str, str | None], held: dict[str, str]) -> None:
    """`held`: the faces that we knew from the start -> whose they are."""
    known = set(held.values())
    matched = [(folder, name_of[face.face]) for folder, faces in result.extend.items() for face in faces]
    right = sum(folder == name for folder, name in matched)
    wrong = sum(folder != name and bool(name) for folder, name in matched)
    asked = sum(name in known for name in name_of.values()) - len(held)
    torn = sum(bool(name_of[face.face]) for face in result.ambiguous)
    placed = held | {face.face: folder for folder, faces in result.extend.items() for face in faces}
    placed |= {face.face: f"new {number}" for number, group in enumerate(result.facesets) for face in group.faces}
    scored_keys = [key for key, name in name_of.items() if name]
    folders = sorted(set(placed.values()))
    labels = np.array([folders.index(placed[key]) if key in placed else -1 for key in scored_keys])
    truth = np.unique([str(name_of[key]) for key in scored_keys], return_inverse=True)[1]
    got = served(labels, truth, least=6)
    named = sum(bool(name) for name in name_of.values())
    print(f"{model.name:18} at {model.known_distance:.3f}/{model.cluster_distance:.3f}: known {right} of {asked} "
          f"({right / asked:.3f}), {wrong} false of {named} ({wrong / named:.4f}), {torn} ambiguous; "
          f"faces in a right faceset {got.right:.3f}, pure {got.pure:.3f} of {got.facesets}, "
          f"{got.people} of {got.expected} people of 6 faces or more", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder of the embeddings, made if it is not there")
    parser.add_argument("--sets", default=",".join((*PACKS, *GENERATED)))
    parser.add_argument("--splits", type=int, default=3, help="ways to halve the people")
    parser.add_argument("--steps", action="store_true", help="also ours without each of its steps")
    args = parser.parse_args()
    if not SHARED.is_dir():
        print(f"{SHARED} is absent: nothing to measure with")
        return 1
    wanted = args.sets.split(",")
    sets = {name: photographed(name, args.keep) if name in PACKS else generated(name) for name in wanted}
    compare(sets, METHODS, args.splits)
    if args.steps:
        print()
        compare(sets, WITHOUT, args.splits)
    if "kin" in sets:
        for penalty in (0.0, Rules().photo_penalty):
            rules = replace(calibrate.at_distance(Rules(), 0.6), photo_penalty=penalty)
            glued, pairs = glued_siblings(sets["kin"], rules)
            print(f"\nkin: {glued} of {pairs} pairs of siblings are glued together with a photo penalty of {penalty}")
    for pack in [name for name in wanted if name in PACKS]:
        found = calibrate.calibrate(sets[pack].rows, sets[pack].people, sets[pack].photos)
        held = [f"{line.distance}: {1000 * line.pairwise:.0f}/{1000 * line.bcubed:.0f}"
                for line in found.held_out_cluster]
        known = [f"{line.distance}: recall {line.recall:.3f}, false {line.false_matches:.4f}"
                 for line in found.held_out_known]
        print(f"\n{pack}: calibrated known_distance {found.known_distance}, cluster_distance {found.cluster_distance}; "
              f"halves for each other {'; '.join(held)}; {'; '.join(known)}")
        operated(embedded(pack, args.keep))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How right the identities are: ours against the usual methods, on labelled photos and on generated libraries.

Reads   ../shared/photos and ../shared/models (labelled photos, embedded here), ../shared/clustering/gen.py
Run     python benchmarks/identities.py --keep DIR          everything; DIR keeps the embeddings for the next time
        python benchmarks/identities.py --keep DIR --sets kin,real --splits 1
Each method chooses its parameter on half of the people and is reported on the other half, both ways and for several
splits; siblings stay in one half. Figures are pairwise F / BCubed F in thousandths, faces without a name not scored,
± the standard deviation of their mean over the halves. `ours` chooses its distance alone, its offsets are those of
config.py; `ours, all chosen` chooses the offsets as well, so it owes nothing to the people that it is asked about.
`kin` and the like are settings of the generator; `noise` is `real` with 30 % strangers and 10 % junk.
"""

import argparse
import importlib.util
import itertools
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from usual_methods import DISTANCES, USUAL, Faces, Labels

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = CHECKOUT.parent / "shared"
sys.path.insert(0, str(CHECKOUT))

import config  # noqa: E402
from facesets.cluster import calibrate, identities, merging  # noqa: E402
from facesets.cluster.linkage import average_linkage  # noqa: E402
from facesets.cluster.measures import bcubed, pairwise, served  # noqa: E402
from facesets.cluster.rules import Rules  # noqa: E402
from facesets.common import files  # noqa: E402
from facesets.formats import cache  # noqa: E402
from facesets.formats.boxes import overlap  # noqa: E402
from facesets.formats.faceset import Faceset  # noqa: E402
from facesets.formats.proposal import Proposal  # noqa: E402

PACKS = ("insightface_small", "embed_512", "opencv_zoo")
GENERATED = ("std", "hard", "kin", "real", "noise")
FACES = 4000            # of a generated library
SAME_FACE = 0.3         # overlap from which a detected face is the labelled one


# ---------------------------------------------------------------- the data

def generated(setting: str, faces: int = FACES) -> Faces:
    spec = importlib.util.spec_from_file_location("gen", SHARED / "clustering" / "gen.py")
    assert spec and spec.loader
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    made = generator.make(faces, seed=0, profile=setting) if setting != "noise" else generator.make(
        faces, seed=1, profile="real", share_stranger=0.3, share_junk=0.1)
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


def all_chosen(faces: Faces) -> Labels:
    """Ours, with the offsets of config.py as open to choice as the distance."""
    base, found = Rules(), {}
    choices = [{}, {"join_margin": 0.05}, {"join_margin": 0.0}, {"merge_distance": base.merge_distance + 0.05},
               {"merge_distance": base.merge_distance - 0.05}, {"join_distance": base.join_distance - 0.04},
               {"join_distance": base.join_distance + 0.04}, {"join_faces": 2}, {"join_faces": 5}]
    for distance in DISTANCES:
        linked = average_linkage(faces.rows, distance, photos=faces.photos, penalty=base.photo_penalty)
        for number, choice in enumerate(choices):
            rules = calibrate.at_distance(replace(base, **choice), distance)
            labels = merging.merge(faces.rows, faces.photos, linked, rules)
            found[distance, number] = merging.join(faces.rows, faces.photos, labels, rules)
    return found


METHODS: Mapping[str, Callable[[Faces], Labels]] = {"ours": ours, "ours, all chosen": all_chosen, **USUAL}
WITHOUT: Mapping[str, Callable[[Faces], Labels]] = {
    "ours": ours, "without photo penalty": lambda faces: ours(faces, replace(Rules(), photo_penalty=0.0)),
    "without merging": lambda faces: ours(faces, replace(Rules(), merge_distance=-9.0)),
    "without joining": lambda faces: ours(faces, replace(Rules(), join_distance=-9.0)),
    "join without margin": lambda faces: ours(faces, replace(Rules(), join_margin=0.0)),
    "with quality weights": with_weights}


# ---------------------------------------------------------------- the comparison

def crossed(faces: Faces, methods: Mapping[str, Callable[[Faces], Labels]],
            splits: int) -> tuple[dict[str, np.ndarray], dict[str, list[object]]]:
    """Of each method pairwise F and BCubed F (halves, 2) on the half that did not choose, and what was chosen."""
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    chosen: dict[str, list[object]] = {name: [] for name in methods}
    for seed in range(splits):
        sides = [faces.part(half) for half in calibrate.halves(faces.families, faces.photos, seed)]
        for name, method in methods.items():
            tables = [{parameter: scored(labels, side) for parameter, labels in method(side).items()} for side in sides]
            for mine, theirs in (tables, tables[::-1]):
                best = choice(mine)
                scores[name].append(theirs[best])
                chosen[name].append(best)
    return {name: 1000 * np.array(found) for name, found in scores.items()}, chosen


def choice(table: Mapping[Any, tuple[float, float]]) -> object:
    """The best parameter; of distances the middle of those as good, as `sort_faces.py calibrate` chooses them."""
    kinds: dict[object, dict[float, Any]] = {}      # whatever a method has beside its distance -> distance -> parameter
    for parameter in table:
        distance, *rest = parameter if isinstance(parameter, tuple) else (parameter,)
        kinds.setdefault(tuple(rest), {})[distance] = parameter
    middles = []
    for parameters in kinds.values():
        lines = [calibrate.Line(distance, *table[parameters[distance]], 0, 0) for distance in sorted(parameters)]
        middles.append(parameters[calibrate.best_cluster(lines)])
    return max(middles, key=lambda parameter: sum(table[parameter]))


def scored(labels: np.ndarray, faces: Faces) -> tuple[float, float]:
    named = faces.people >= 0
    return pairwise(labels[named], faces.people[named]).f, bcubed(labels[named], faces.people[named]).f


def compare(sets: Mapping[str, Faces], methods: Mapping[str, Callable[[Faces], Labels]], splits: int) -> None:
    for name, faces in sets.items():
        print(f"{name}, {len(faces.rows)} faces: chosen on one half, scored on the other", flush=True)
        scores, chosen = crossed(faces, methods, splits)
        for method, found in scores.items():
            print(f"  {method:22} {found[:, 0].mean():5.1f} / {found[:, 1].mean():5.1f} "
                  f"± {found.mean(axis=1).std():4.1f}   at {', '.join(map(str, sorted(set(chosen[method]))))}")
        others = {method: found for method, found in scores.items() if method in USUAL}
        if others:
            best = max(others, key=lambda method: others[method].mean())
            ahead = (scores["ours"] - others[best]).mean(axis=1)
            print(f"  ours is ahead of the best of the others, {best}, by {ahead.mean():+.1f} ± {ahead.std():.1f}")


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

def operated(made: cache.Cache, faces: Faces) -> None:
    """What an operator gets of ours and of the usual methods in its place, those at what suits these people best."""
    as_operated("ours", made)
    ours_is = identities.identities
    for name, method in USUAL.items():
        table = {parameter: scored(labels, faces) for parameter, labels in method(faces).items()}
        best = choice(table)

        def theirs(rows: np.ndarray, photos: np.ndarray, _: Rules, method: Callable[[Faces], Labels] = method,
                   best: object = best) -> np.ndarray:
            nobody = np.zeros(len(rows), np.int64)
            return np.unique(method(Faces(rows, nobody, photos, nobody, nobody))[best], return_inverse=True)[1]
        identities.identities = theirs
        as_operated(name, made)
    identities.identities = ours_is


def as_operated(method: str, made: cache.Cache) -> None:
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
            known.append(Faceset(name, cache.unit_mean(made.embeddings[which])))
            vars(known[-1])["face_keys"] = frozenset(keys[face] for face in which)      # as if they had been read
    base, model = Rules(), made.model
    rules = replace(calibrate.at_distance(base, model.cluster_distance), known_distance=model.known_distance,
                    spread=model.known_distance - 0.05)
    result = identities.propose([made], known, rules, run="", made_by="", created="")
    report(method, model, result, name_of, {key: one.folder for one in known for key in one.faces})


def report(method: str, model: cache.Model, result: Proposal, name_of: dict[str, str | None],
           held: dict[str, str]) -> None:
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
    print(f"  {method:17} at {model.known_distance:.3f}/{model.cluster_distance:.3f}: known {right} of {asked} "
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
        many = generated("kin", 3 * FACES)
        for distance, penalty in itertools.product((0.55, 0.6, 0.65), (0.0, Rules().photo_penalty)):
            rules = replace(calibrate.at_distance(Rules(), distance), photo_penalty=penalty)
            glued, pairs = glued_siblings(many, rules)
            print(f"kin, {len(many.rows)} faces at {distance}: {glued} of {pairs} pairs of siblings are glued together "
                  f"with a photo penalty of {penalty}")
    for pack in [name for name in wanted if name in PACKS]:
        found = calibrate.calibrate(sets[pack].rows, sets[pack].people, sets[pack].photos)
        held = [f"{line.distance}: {1000 * line.pairwise:.0f}/{1000 * line.bcubed:.0f}"
                for line in found.held_out_cluster]
        known = [f"{line.distance}: recall {line.recall:.3f}, false {line.false_matches:.4f}"
                 for line in found.held_out_known]
        print(f"\n{pack}: calibrated known_distance {found.known_distance}, cluster_distance {found.cluster_distance}; "
              f"halves for each other {'; '.join(held)}; {'; '.join(known)}")
        operated(embedded(pack, args.keep), sets[pack])
    return 0


if __name__ == "__main__":
    sys.exit(main())

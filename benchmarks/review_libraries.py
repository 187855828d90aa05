"""The libraries that benchmarks/review_keys.py reviews, with the truth: made up, or of labelled photos.

A folder holds faces.npz, refine.json (what lies in no faceset), library/ and truth.json {short face key: who}.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), *(str(CHECKOUT / "tests" / room) for room in ("", "report", "review"))]

from drawn import LOOKS, face_of, person, photo  # noqa: E402
from drawn import cache_of as as_cache  # noqa: E402
from identities import rules_of  # noqa: E402
from truth import one, part  # noqa: E402

from facesets.cluster import identities  # noqa: E402
from facesets.export import looks, swap  # noqa: E402
from facesets.export.draft import Options  # noqa: E402
from facesets.formats import cache, proposal  # noqa: E402
from facesets.formats.proposal import Face, Group, Proposal  # noqa: E402
from facesets.library.store import Library  # noqa: E402

NOBODY = "rubbish"      # who a face is that has no faceset to lie in
PACK = "opencv_zoo"     # the one that confuses most
FEWEST = 20             # made-up facesets of which every kind of mistake is made
EACH = 7                # faces of a made-up faceset
LARGE = 10              # of one that wants a name


def made_up(place: Path, count: int) -> None:
    """A fifth of the facesets, or FEWEST, have mistakes; of twenty of those: three have one wrong face, two are one
    person, two are look-alikes, one is two people, one is rubbish. Every tenth is large and wants a name."""
    photos: list[cache.Photo] = []
    rows, names, groups = [], [], []
    for number in range(1, count + 1):
        who, like = people_of(number, number <= max(FEWEST, count // 5))
        groups.append(range(len(names), len(names) + len(who)))
        for name in who:
            base, share = like.get(name, (name, 0.0))
            middle = share * vector(base) + (1 - share**2) ** 0.5 * vector(name)
            at, spread = len(names), 1.2 if name == NOBODY else 0.6
            path, box = place / "photos" / f"{number}" / f"{at}.png", (200.0, 120.0, 360.0 + at % EACH, 280.0)
            photos.append(cache.Photo(str(path), photo(path, [box], at), "faces", taken_at=f"{2010 + at % EACH}-06-01",
                                      width=640, height=480, user="anna"))
            rows.append((at, box, face_of(middle / np.linalg.norm(middle), at, spread), number))
            names.append(name)
    faces = as_cache(photos, rows)
    keys = cache.face_keys(faces)
    made = Proposal("20260101-000000-made", "made", "2099-01-01T00:00:00Z", {}, (), facesets=tuple(
        Group(tuple(Face(keys[at]) for at in group)) for group in groups))
    _keep(place, faces, made, place, dict(zip(keys, names, strict=True)))


def people_of(number: int, spoiled: bool) -> tuple[list[str], dict[str, tuple[str, float]]]:
    """Who the faces of a made-up faceset are, and whom they look like, how much."""
    mine, other = f"P{number}", f"Q{number}"
    match number % 20 if spoiled else 0:
        case 1 | 2 | 3:
            return [*[mine] * (EACH - 1), other], {other: (mine, 0.75)}
        case 5:
            return [f"P{number - 1}"] * EACH, {}
        case 7:
            return [mine] * EACH, {mine: (f"P{number - 1}", 0.8)}
        case 9:
            return [*[mine] * (EACH - 3), *[other] * 3], {other: (mine, 0.5)}
        case 11:
            return [NOBODY] * EACH, {}
    return [mine] * (LARGE if number % 10 == 3 else EACH), {}


def vector(name: str) -> np.ndarray:
    return person(7 if name == NOBODY else 10 * int(name[1:]) + (name[0] == "Q"))


def of_labelled_photos(place: Path, embedded: Path) -> None:
    """What clustering makes of the photos in ../shared, with mistakes put in, and two facesets of bystanders.

    Faces that no label has may be anybody's, and are left away.
    """
    whole = one(embedded, f"{PACK}-plain")
    known = np.flatnonzero(whole.judged)
    faces = part(whole.caches[0], known)
    made = identities.propose([faces], [], rules_of(whole), run="20260101-000000-made", made_by="made", created="")
    truth = dict(zip(cache.face_keys(faces), (str(name) or NOBODY for name in whole.names[known]), strict=True))
    groups = [list(group.faces) for group in made.facesets]
    held = {face.face for group in groups for face in group}
    bystanders = [Face(key) for key, who in truth.items() if who == NOBODY and key not in held]
    groups = [*spoiled(groups), bystanders[:8], bystanders[8:16]]
    _keep(place, faces, replace(made, facesets=tuple(Group(tuple(group)) for group in groups)),
          embedded, truth)


def spoiled(groups: list[list[Face]]) -> list[list[Face]]:
    """Of six groups, one has a face of the next, one is in two, and one has four faces of the next."""
    halves = []
    for at in range(len(groups) - 1):
        match at % 6:
            case 0:
                groups[at].append(groups[at + 1].pop())
            case 2:
                halves.append(groups[at][::2])
                groups[at] = groups[at][1::2]
            case 4:
                groups[at] += groups[at + 1][-4:]
                del groups[at + 1][-4:]
    return [*groups, *halves]


def options(faces: cache.Cache, models: Path) -> Options:
    """Who does not belong there has a picture, too. What tells whether a drawn one shows its face is a stand-in."""
    drawn = faces.model.name != PACK
    return Options((lambda: LOOKS) if drawn else looks.opener(faces.model, PACK, models, "cpu"), image_size=128,
                   outlier_distance=2.0)


def _keep(place: Path, faces: cache.Cache, made: Proposal, models: Path, truth: dict[str, str]) -> None:
    cache.write(place / "faces.npz", faces)
    proposal.write(place / "refine.json", made)
    swap.export(Library(place / "library"), replace(made, thin=(), extend={}), [faces], options(faces, models),
                min_faces=3)
    (place / "truth.json").write_text(json.dumps({cache.short_key(key): who for key, who in truth.items()}))

"""What the pictures of a library are worth, as the tools see them that will read them. InsightFace and OpenCV look.

Run     python benchmarks/pictures.py LIBRARY [LIBRARY ...]      libraries of the labelled photos, e.g. made before and
                                                                after a change by: benchmarks/chain.py --keep DIR
Prints  one column a library: pictures, how their faces were isolated, how much of them is filled with black that their
        photo does not have, faces that each detector finds at each size, cosine to the photo's face, enlarged ones,
        half faces, near-duplicates
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from facesets.common import terminal  # noqa: E402
from facesets.embed import packs  # noqa: E402
from facesets.embed.decode import read_upright  # noqa: E402
from facesets.export import crop, select, swap  # noqa: E402
from facesets.export.looks import Looks, opener  # noqa: E402
from facesets.formats import cache  # noqa: E402
from facesets.formats.faceset import FACES, read_faces  # noqa: E402
from facesets.formats.proposal import Face, Group, Proposal  # noqa: E402
from facesets.library import folder as folders  # noqa: E402
from facesets.library.store import Library  # noqa: E402

SCORE = 0.5             # from which on a tool takes a detection for a face
OTHER = 0.3             # cosine to the photo's face below which the largest face of a picture is somebody else
ENLARGED, SMALL = 256, 90
HALF = 0.85             # share of the face's box inside the photo below which it is half a face
ALIKE = 0.90            # cosine of two pictures of one faceset from which on they show one moment
Look = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]    # picture -> boxes (n, 4), landmarks (n, 5, 2)


def looks(model: Path, models_dir: Path) -> tuple[dict[str, Look], Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Detectors by name, and the recogniser: picture, landmarks (5, 2) -> raw embedding (D,)."""
    from insightface.app import FaceAnalysis
    from insightface.utils import face_align
    app = FaceAnalysis(str(model), allowed_modules=["detection", "recognition"], providers=["CPUExecutionProvider"])
    app.prepare(0, det_thresh=SCORE, det_size=(640, 640))
    scrfd, recogniser = app.det_model, app.models["recognition"]
    weights = packs.open_pack("opencv_zoo", models_dir).detector.path
    yunet = cv2.FaceDetectorYN.create(str(weights), "", (320, 320), SCORE)

    def at(side: int) -> Look:
        def look(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            boxes, landmarks = scrfd.detect(picture, input_size=(side, side))
            return boxes[:, :4], landmarks
        return look

    def own_scale(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        canvas = np.zeros((640, 640, 3), np.uint8)
        canvas[:picture.shape[0], :picture.shape[1]] = picture
        return at(640)(canvas)

    def opencv(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        yunet.setInputSize(picture.shape[1::-1])
        found = yunet.detect(picture)[1]
        found = np.zeros((0, 15), np.float32) if found is None else found
        return np.hstack([found[:, :2], found[:, :2] + found[:, 2:4]]), found[:, 4:14].reshape(-1, 5, 2)

    def embed(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return np.asarray(recogniser.get_feat(face_align.norm_crop(picture, landmarks)).ravel())
    return {"SCRFD at 640": at(640), "SCRFD at 320": at(320), "SCRFD at its own scale": own_scale,
            "YuNet": opencv}, embed


def pictures(library: Path) -> Iterator[tuple[Path, dict, np.ndarray, np.void, float]]:
    """Every picture of the canonical facesets: file, manifest entry, unit embedding (D,), FACE row, and the share of
    the face's box that lies inside the photo."""
    for folder in sorted(library.glob("faceset_*")):
        record, contents = folders.read_record(folder / folders.MANIFEST), read_faces(folder / FACES)
        row = {key: number for number, key in enumerate(cache.face_keys(contents.faces))}
        for entry in record.faces:
            number = row[entry["face"]]
            face = contents.faces.faces[number]
            photo, box = contents.faces.photos[face["photo"]], face["box"].astype(float)
            inside = np.clip(np.minimum(box[2:], (photo.width, photo.height)) - np.maximum(box[:2], 0), 0, None).prod()
            yield (folder / entry["file"], entry, contents.faces.embeddings[number], face,
                   inside / (box[2:] - box[:2]).prod())


def black(picture: np.ndarray) -> float:
    """Share of the picture that is black without a trace and reaches its edge."""
    dark = (picture == 0).all(axis=2).astype(np.uint8)
    count, labels = cv2.connectedComponents(dark, connectivity=4)
    edge = set(labels[[0, -1]].ravel()) | set(labels[:, [0, -1]].ravel())
    sizes = np.bincount(labels.ravel(), minlength=count)
    return sum(int(sizes[label]) for label in edge if label and sizes[label] > 100) / dark.size


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)


def judge(library: Path, detectors: dict[str, Look], embed: Callable[[np.ndarray, np.ndarray], np.ndarray],
          say: Callable[[str], None]) -> dict[str, str]:
    """The column of one library."""
    isolation: Counter[str] = Counter()
    wrong: dict[str, Counter[str]] = {name: Counter() for name in detectors}
    filled, cosines, sizes, first, square, half = [], [], [], Counter(), 0, 0
    by_folder: dict[Path, list[tuple[np.ndarray, str]]] = {}
    for path, entry, embedding, face, inside in pictures(library):
        picture = cv2.imread(str(path))
        isolation[entry["isolation"]] += 1
        first[entry["isolation"]] += entry["rank"] == 1
        filled.append(share if (share := black(picture)) <= 0.02 or not black(read_upright(entry["photo"])) else 0.0)
        sizes.append(float(face["face_short"]))
        square += picture.shape[0] == picture.shape[1]
        half += inside < HALF
        for name, look in detectors.items():
            boxes, landmarks = look(picture)
            alike = [float(unit(embed(picture, points)) @ embedding) for points in landmarks]
            if name == "SCRFD at 640":
                cosines.append(max(alike, default=0.0))
                look_of = crop._look(picture, landmarks[int(np.argmax(alike))]) if alike else ""
                by_folder.setdefault(path.parent, []).append((embedding, look_of))
            if len(boxes) != 1:
                wrong[name]["none" if not len(boxes) else "two or more"] += 1
                say(f"{path.parent.name}/{path.name} {name}: {len(boxes)} faces ({entry['isolation']})")
            if len(boxes) and alike[(boxes[:, 2:] - boxes[:, :2]).prod(axis=1).argmax()] < OTHER:
                wrong[name]["somebody else largest"] += 1
    pairs = [(one[1], other[1]) for rows in by_folder.values() for one, other in combinations(rows, 2)
             if one[0] @ other[0] >= ALIKE]
    number = len(sizes)
    return {"pictures": str(number), **{f"isolation: {name}": str(count) for name, count in sorted(isolation.items())},
            "first of a faceset painted on": str(first["masked"] + first["cleaned"]), "square": str(square),
            "filled > 2 %": str(sum(share > 0.02 for share in filled)),
            "filled > 10 %": str(sum(share > 0.1 for share in filled)),
            **{f"{name}: {what}": str(count[what]) for name, count in wrong.items()
               for what in ("none", "two or more", "somebody else largest")},
            "cosine, least": f"{min(cosines):.3f}", "cosine < 0.95": str(sum(value < 0.95 for value in cosines)),
            f"face under {ENLARGED} px": str(sum(size < ENLARGED for size in sizes)),
            f"face under {SMALL} px": str(sum(size < SMALL for size in sizes)), "half faces": str(half),
            f"pairs of cosine {ALIKE}": str(len(pairs)),
            "of them, of one moment by their pixels": str(sum(
                bool(select.one_moment(np.ones((2, 1)), looks)) for looks in pairs))}


def cost(library: Path, model: Path, models_dir: Path, wanted: int = 200) -> Iterator[str]:
    """Where the time of an export goes: some facesets of a library, left by chain.py --keep, are exported again."""
    every = max(sum(1 for _ in library.glob("faceset_*/*.png")) // wanted, 1)
    keys = [cache.face_keys(read_faces(folder / FACES).faces) for folder in sorted(library.glob("faceset_*"))[::every]]
    made = Proposal("cost", "", "2099", {}, (), facesets=tuple(Group(tuple(map(Face, some))) for some in keys))
    caches = [cache.read(path) for path in (library.parent / "work/cache").glob("*.npz")]
    opened = opener(caches[0].model, str(model), models_dir, "cpu")()
    spent: Counter[str] = Counter()

    def timed(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any) -> Any:
            started = time.thread_time()
            try:
                return act(*given)
            finally:
                spent[name] += time.thread_time() - started
                spent[f"{name}, times"] += 1
        return wrapped
    yunet, main = opened.looks
    looks = Looks((timed("YuNet", yunet), timed("SCRFD at 640", main)), timed("recogniser", opened.embed),
                  [timed(f"in doubt, look {number}", look) for number, look in enumerate(opened.in_doubt, 1)])
    took = []
    for what, given in (("with the look at 640 only", Looks(looks.looks[1:], looks.embed)), ("with all looks", looks)):
        with tempfile.TemporaryDirectory() as folder:
            spent.clear()
            started = time.process_time()
            run = swap.export(Library(Path(folder) / "library"), made, caches, swap.Options(lambda: given), min_faces=1)  # noqa: B023
            whole = time.process_time() - started
        number = run.counts["pictures"]
        took.append(whole)
        yield f"{what}: {number} pictures, {1000 * whole / number:.0f} ms of CPU a picture"
    for name in [name for name in spent if f"{name}, times" in spent]:
        yield f"  {name:18}{spent[name] / whole:6.1%}  {spent[f'{name}, times'] / number:.2f} times a picture"
    extra = sum(spent[name] for name in spent if name.startswith(("YuNet", "in doubt")) and "times" not in name)
    yield (f"  the extra looks    {extra / whole:.1%} of the export's time; it takes {1 - took[0] / took[1]:.1%} less "
           "without them, since a face that one refuses is looked at no further")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("libraries", nargs="+", type=Path, metavar="LIBRARY")
    parser.add_argument("--model", type=Path, default=CHECKOUT.parent / "shared/models/insightface_small")
    parser.add_argument("--models-dir", type=Path, default=CHECKOUT / "work/models")
    parser.add_argument("--cost", action="store_true", help="only print what the looks of the export cost")
    parser.add_argument("--verbose", action="store_true", help="name every picture that is not as it should be")
    args = parser.parse_args(argv)
    if args.cost:
        for line in cost(args.libraries[0], args.model, args.models_dir):
            print(line, flush=True)
        return 0
    detectors, embed = looks(args.model, args.models_dir)
    columns = [judge(library, detectors, embed, terminal.say if args.verbose else lambda line: None)
               for library in args.libraries]
    for name in dict.fromkeys(name for column in columns for name in column):
        print(f"{name:40}" + "".join(f"{column.get(name, '0'):>12}" for column in columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())

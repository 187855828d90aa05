"""The whole chain over the labelled photos of ../shared, and how right the facesets are that come out.

The photos are served by the local server with the labels as Immich's faces, then staged, embedded, clustered and
exported by the scripts themselves, twice: the second time must add nothing. Truth: every face of the cache takes the
label of the box that it overlaps by at least 0.4 (intersection over union); faces without a name are not scored.

Run     python benchmarks/chain.py                   all 1,128 photos, about three minutes on two cores
        python benchmarks/chain.py --photos 250      every so-and-so-many-th of them
Prints  counters of every stage, pairwise F, BCubed F, facesets that hold one person only, PNGs with one face
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

from immich_lab.server import LabServer  # noqa: E402

from facesets.cluster import measures  # noqa: E402
from facesets.common import files, terminal  # noqa: E402
from facesets.fake_immich.library_model import User  # noqa: E402
from facesets.formats import cache  # noqa: E402
from facesets.library.store import Library  # noqa: E402

USER = "labelled"
OVERLAP = 0.4       # intersection over union from which a detected face is the labelled one
PREVIEW = 1440      # longer side of Immich's preview, the frame of its boxes
DAY = 86_400_000    # ms


def labelled_photos(photos: Path, wanted: int) -> dict[Path, dict[str, Any]]:
    """File -> its label; `wanted` of them, evenly picked, 0 for all."""
    found = {photos / part / name: label for part in ("people", "groups")
             for name, label in sorted(json.loads((photos / part / "labels.json").read_text()).items())}
    names = list(found)
    if wanted and wanted < len(names):
        names = [names[round(at)] for at in np.linspace(0, len(names) - 1, wanted)]
    return {name: found[name] for name in names}


def serve(server: LabServer, user: User, photos: dict[Path, dict[str, Any]]) -> None:
    """Put the photos on the server, one a day, with the labels as faces: named ones belong to a person."""
    people = {}
    for day, (path, label) in enumerate(photos.items()):
        scale = min(1.0, PREVIEW / max(label["width"], label["height"]))
        width, height = round(label["width"] * scale), round(label["height"] * scale)
        faces = []
        for face in label["faces"]:
            name = face.get("identity")
            if name and name not in people:
                people[name] = server.add_person(user, name.replace("_", " "))
            x, y, w, h = (side * scale for side in face["box"])
            faces.append(server.face((x, y, x + w, y + h), width, height, people.get(name)))
        server.add_asset(user, path, name=path.name, taken=1_262_304_000_000 + day * DAY, faces=faces)


def run_chain(url: str, key: str, root: Path, model: Path) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Run each stage as the operator does; yields its name, seconds and summary. Raises where one fails."""
    environment = {**os.environ, "IMMICH_URL": url, "IMMICH_API_KEY": key, "FACESETS_DATA_ROOT": str(root / "work"),
                   "FACESETS_LIBRARY": str(root / "library"), "FACESETS_MODEL": str(model)}
    environment.pop("STAGE_DIR", None)
    queue, made = root / "work" / "immich" / USER / "queue.json", root / "work" / "cache" / f"immich_{USER}.npz"
    for command in (["immich_stage.py", "--user", USER], ["embed_worker.py", "--queue", str(queue), "--out", str(made)],
                    ["cluster_immich.py", "--user", USER]):
        started = time.perf_counter()
        run = subprocess.run([sys.executable, CHECKOUT / command[0], *command[1:], "--json"], env=environment,
                             capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(f"{command[0]} ended with {run.returncode}: {run.stderr[-2000:]}")
        yield command[0], time.perf_counter() - started, json.loads(run.stdout)


def true_names(faces: cache.Cache, photos: dict[Path, dict[str, Any]]) -> list[str | None]:
    """Identity of each face of the cache, None where the label has no name for it."""
    labels = {files.sha256_of(path): label["faces"] for path, label in photos.items()}
    return [_name_of(face["box"], labels[faces.photos[face["photo"]].sha256]) for face in faces.faces]


def _name_of(box: np.ndarray, faces: Sequence[dict[str, Any]]) -> str | None:
    best, name = OVERLAP, None
    for face in faces:
        x, y, w, h = face["box"]
        across = max(0.0, min(box[2], x + w) - max(box[0], x)) * max(0.0, min(box[3], y + h) - max(box[1], y))
        share = across / ((box[2] - box[0]) * (box[3] - box[1]) + w * h - across)
        if share >= best:
            best, name = share, None if face.get("ignore") else face.get("identity")
    return name


def judge(faces: cache.Cache, names: Sequence[str | None], library: Library) -> dict[str, Any]:
    """How right the library is: faces that are in no faceset count as clusters of one."""
    place = {key: number for number, item in enumerate(library.canonical()) for key in item.face_keys}
    keys = cache.face_keys(faces)
    scored = [row for row, name in enumerate(names) if name]
    number = {name: at for at, name in enumerate(sorted({names[row] for row in scored}))}   # type: ignore[type-var]
    truth = np.array([number[names[row]] for row in scored])
    served = np.array([place.get(keys[row], -1) for row in scored])
    labels = np.where(served >= 0, served, 1_000_000 + np.arange(len(served)))
    inside = served >= 0
    facesets = [np.bincount(truth[served == one], minlength=len(number)) for one in np.unique(served[inside])]
    size = np.bincount(truth, minlength=len(number))
    own = sum(int(faces.max()) for faces in facesets if size[faces.argmax()] >= 6)
    return {"faces": len(keys), "named_faces": len(scored), "in_facesets": int(inside.sum()),
            "pairwise_f": round(measures.pairwise(labels, truth).f, 4),
            "bcubed_f": round(measures.bcubed(labels, truth).f, 4),
            "pairwise_f_inside": round(measures.pairwise(served[inside], truth[inside]).f, 4),
            "bcubed_f_inside": round(measures.bcubed(served[inside], truth[inside]).f, 4),
            "facesets": len(facesets),
            "pure_facesets": round(sum(faces.max() == faces.sum() for faces in facesets) / max(1, len(facesets)), 4),
            "people_with_6_faces": int((size >= 6).sum()),
            "of_them_faces_in_right_faceset": round(own / max(1, int(size[size >= 6].sum())), 4)}


def count_faces(library: Path, model: Path) -> Counter[int]:
    """Faces that InsightFace itself finds at 640 in each exported PNG: {faces: PNGs}."""
    from insightface.app import FaceAnalysis
    detector = FaceAnalysis(str(model), allowed_modules=["detection", "recognition"],
                            providers=["CPUExecutionProvider"])
    detector.prepare(0, det_size=(640, 640))
    return Counter(len(detector.det_model.detect(cv2.imread(str(path)), input_size=(640, 640))[0])
                   for path in sorted(library.glob("faceset_*/*.png")))


def run(photos: Path, model: Path, wanted: int, root: Path) -> dict[str, Any]:
    """Everything; returns what is printed."""
    chosen = labelled_photos(photos, wanted)
    with LabServer() as server:
        user = server.add_user(USER)
        serve(server, user, chosen)
        key = server.add_key(user)
        first = {name: {"seconds": round(seconds, 1), **summary}
                 for name, seconds, summary in run_chain(server.url, key, root, model)}
        second = {name: {"seconds": round(seconds, 1), **summary}
                  for name, seconds, summary in run_chain(server.url, key, root, model)}
    faces = cache.read(root / "work" / "cache" / f"immich_{USER}.npz")
    library = Library(root / "library")
    return {"photos": len(chosen), "first": first, "second": second,
            "judged": judge(faces, true_names(faces, chosen), library),
            "faces_per_png": {str(faces): pngs for faces, pngs in sorted(count_faces(library.root, model).items())}}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=0, metavar="N", help="how many of the photos, 0 for all")
    parser.add_argument("--shared", type=Path, default=CHECKOUT.parent / "shared")
    parser.add_argument("--model", default="insightface_small", help="a folder of ../shared/models")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the data root and the library there")
    args = parser.parse_args(argv)
    if not args.shared.is_dir():
        terminal.say(f"{args.shared} is absent: no labelled photos here")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        result = run(args.shared / "photos", args.shared / "models" / args.model, args.photos,
                     args.keep or Path(folder))
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

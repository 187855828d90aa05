"""The sample library: about 110 items made of a few photographs, on disk with what Immich would know about each.

    sample/library.json     the items, Immich's persons and boxes
    sample/files/, known/   the files, and hand-sorted folders

The boxes are what YuNet finds in each finished picture, in the frame of Immich's preview; whose face it is follows from
the place where the portrait was put. library.json is written last, so a folder that has it is complete.
"""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..common import files
from ..fake_immich.library_model import PREVIEW_SIDE, Library
from . import photos, variations
from .sample_plan import Shot, by_hand, plan

SCHEMA = 1
PERSONS = {     # portrait -> Immich's person: our id, the name that it has there, hidden
    "barack": ("barack", "Barack", False), "rishi": ("rishi", "", False), "eileen": ("eileen", "Eileen", False),
    "emmanuel_2014": ("emmanuel", "Emmanuel", False), "emmanuel_2025": ("emmanuel", "Emmanuel", False),
    "jacinda_2018": ("jacinda", "Jacinda", False), "jacinda_2022": ("jacinda later", "", True)}
DETECTOR_SCORE = 0.7    # what Immich asks of its own detector
DETECTOR_SIDE = 640     # pixels of the longer side that it looks at; as Immich's does, and four times as fast


def build(folder: Path, detector: Path, archive: Path) -> None:
    """Make the library in `folder` (anew, if it is there) with the YuNet weights `detector`; a few seconds.

    archive: folder for the fetched archive of portraits
    """
    shutil.rmtree(folder, ignore_errors=True)
    maker = _Maker(folder, detector, photos.portraits(archive), photos.scenes())
    shots = plan()
    with ThreadPoolExecutor() as pool:      # OpenCV and Pillow release the interpreter
        rows = list(pool.map(maker.make, (shot for shot in shots if not shot.copy_of)))
        list(pool.map(maker.make_by_hand, by_hand()))
    made = {row["name"]: row for row in rows}
    for shot in shots:
        if shot.copy_of:
            origin = made[shot.copy_of]
            rows.append({**maker.describe(shot, Path(origin["file"]).name), "faces": origin["faces"],
                         "width": origin["width"], "height": origin["height"]})
    order = {shot.name: place for place, shot in enumerate(shots)}
    rows.sort(key=lambda row: order[row["name"]])
    files.write_json(folder / "library.json", {"schema": SCHEMA, "assets": rows})


def serve(folder: Path, library: Library) -> str:
    """Put the library in `folder` on a server's `library`; the key of its user `demo`."""
    described = files.read_json(folder / "library.json", SCHEMA, "the demo")
    users = {name: library.add_user(name, admin=name == "demo") for name in ("demo", "partner")}
    library.share(users["partner"], users["demo"])
    people = {identity: library.add_person(users["demo"], name, hidden=hidden)
              for identity, name, hidden in dict.fromkeys(PERSONS.values())}
    for row in described["assets"]:
        path = row["path"]
        asset = library.add_asset(users[row["owner"]], folder / row["file"], name=row["name"], taken=row["taken"],
                                  external=bool(path), path=path or None, **row["asset"])
        if row["owner"] == "demo":
            for face in row["faces"]:
                person = people.get(face["person"])
                width, height = face["frame"]
                library.add_face(asset, library.face(face["box"], width, height, person, **face["flags"]))
    return library.add_key(users["demo"], ("asset.read", "asset.download", "asset.view", "user.read", "face.read",
                                           "asset.statistics"), "demo").secret


class _Maker:
    """Makes files; `make` may run in several threads."""

    def __init__(self, folder: Path, detector: Path, portraits: dict[str, np.ndarray],
                 scenes: dict[str, np.ndarray]) -> None:
        self.folder, self.portraits, self.scenes = folder, portraits, scenes
        self._detector, self._own = detector, threading.local()
        files.private_folder(folder / "files")

    def make(self, shot: Shot) -> dict[str, Any]:
        """Write one item and describe it."""
        name = f"{shot.seed:03}_{shot.name}" if shot.seed else shot.name
        path = self.folder / "files" / name
        if shot.video or shot.damage == "empty":
            files.write_bytes(path, b"\0\0\0\x18ftypisom" + bytes(2000) if shot.video else b"")
            return self.describe(shot, name)
        picture, ends = self._picture(shot)
        variations.save(picture, path, taken=shot.taken, camera=shot.camera, orientation=shot.orientation,
                        quality=shot.quality)
        row = self.describe(shot, name) | {"width": picture.shape[1], "height": picture.shape[0]}
        if shot.damage:
            files.write_bytes(path, path.read_bytes()[:path.stat().st_size // 3])
        return row | {"faces": self._faces(shot, picture, ends)}

    def make_by_hand(self, shot: Shot) -> None:
        variations.save(self._picture(shot)[0], self.folder / shot.name, taken=shot.taken, camera=shot.camera)

    def describe(self, shot: Shot, file: str) -> dict[str, Any]:
        extra = {"exif": dict(zip(("make", "model"), shot.camera, strict=True)), **shot.asset}
        if shot.video:
            extra |= {"type": "VIDEO", "width": 320, "height": 240}
        date, _, clock = shot.taken.partition(" ")
        return {"name": shot.name, "file": f"files/{file}", "owner": shot.owner, "path": shot.path, "asset": extra,
                "taken": f"{date.replace(':', '-')}T{clock}", "width": 0, "height": 0, "faces": []}

    def _picture(self, shot: Shot) -> tuple[np.ndarray, list[int]]:
        """The upright picture, and where each person's part of it ends."""
        if not shot.people:
            return self.scenes[shot.scene], []
        varied = [variations.vary(self._portrait(person, shot.enlarge if len(shot.people) == 1 else 1.0),
                                  shot.seed + place) for place, person in enumerate(shot.people)]
        if len(varied) > 1:
            return variations.beside(varied, round(640 * shot.enlarge))
        out = variations.faded(varied[0], shot.faded) if shot.faded else varied[0]
        out = variations.far_away(out, self.scenes[shot.scene]) if shot.scene else out
        return out, [out.shape[1]]

    def _portrait(self, person: str, enlarge: float) -> np.ndarray:
        picture = self.portraits[person]
        return cv2.resize(picture, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)

    def _faces(self, shot: Shot, picture: np.ndarray, ends: list[int]) -> list[dict[str, Any]]:
        """Immich's faces: boxes of YuNet in the frame of the preview, and one or two that do not count."""
        scale = min(1.0, PREVIEW_SIDE / min(picture.shape[:2]))
        preview = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = preview.shape[:2]
        found = []
        for x, y, wide, high in self._detect(preview):
            place = int(np.searchsorted(np.array(ends) * scale, x + wide / 2))
            person = "" if shot.unassigned or place >= len(ends) else PERSONS[shot.people[place]][0]
            found.append(_face((x, y, x + wide, y + high), (width, height), person))
        if shot.scene == "cat" and not shot.people:     # faces that Immich once saw and somebody took away
            found = [_face((50, 50, 250, 250), (width, height), "", visible=False),
                     _face((90, 50, 290, 250), (width, height), "", deleted=True)]
        return found

    def _detect(self, picture: np.ndarray) -> list[tuple[float, float, float, float]]:
        """(x, y, width, height) of each face, in pixels of `picture`."""
        scale = min(1.0, DETECTOR_SIDE / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if not hasattr(self._own, "detector"):
            self._own.detector = cv2.FaceDetectorYN.create(str(self._detector), "", (320, 320), DETECTOR_SCORE)
        self._own.detector.setInputSize((small.shape[1], small.shape[0]))
        rows = self._own.detector.detect(small)[1]
        rows = [] if rows is None else rows / scale
        return [(float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in rows]


def _face(box: tuple[float, float, float, float], frame: tuple[int, int], person: str, **flags: bool) -> dict[str, Any]:
    return {"box": [round(side) for side in box], "frame": list(frame), "person": person, "flags": flags}

"""A made-up library for the report: drawn faces, made-up embeddings, everything else as the real thing writes it."""

import os
import sqlite3
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from facesets.common import files
from facesets.formats import cache, proposal
from facesets.formats import queue as queues
from facesets.formats.faceset import FACES, Contents, write_faces
from facesets.formats.vectors import unit_mean
from facesets.library import folder as folders
from facesets.library import store
from facesets.stage import state

D = 64
MODEL = cache.Model("made_up", "ab" * 32, "cd" * 32, D, 0.45, 0.55)
NAMES = ("Anna Berger", "Paul", "Großmutter Ilse", "Jonas", "Mila", "Uncle Theo", "María José", "Søren", "Ayşe",
         "小林 葵", "Elizabeth-Charlotte von Hohenstein-Wallerfels", "Tom")
USERS = ("anna", "peter")


def portrait(seed: int, size: int = 512) -> np.ndarray:
    """(size, size, 3) uint8 BGR: a drawn face, another one for every person, a little different for every seed."""
    person, shot = np.random.default_rng(seed // 1000), np.random.default_rng(seed)
    canvas = np.zeros((512, 512, 3), np.uint8)
    canvas[:] = shot.integers(90, 220, 3)
    skin = np.array([140, 175, 225]) * person.uniform(0.45, 1.05)
    hair = (np.array([40, 75, 120]) * person.uniform(0.15, 1.5)).clip(0, 255).tolist()
    x, y = 256 + int(shot.normal(0, 16)), 266 + int(shot.normal(0, 14))
    wide, tall = int(person.uniform(105, 140)), int(person.uniform(150, 180))
    cv2.ellipse(canvas, (x, 540), (230, 150), 0, 180, 360, shot.integers(40, 200, 3).tolist(), -1, cv2.LINE_AA)
    cv2.ellipse(canvas, (x, y - 24), (wide + 26, tall + 16), 0, 0, 360, hair, -1, cv2.LINE_AA)
    cv2.ellipse(canvas, (x, y + 14), (wide, tall), 0, 0, 360, skin.tolist(), -1, cv2.LINE_AA)
    cv2.ellipse(canvas, (x, y - tall // 2 - 34), (wide, 70), 0, 180, 360, hair, -1, cv2.LINE_AA)
    for side in (-1, 1):
        eye = (x + side * wide * 2 // 5 + int(shot.normal(0, 5)), y - 18)
        cv2.ellipse(canvas, eye, (22, 13), 0, 0, 360, (245, 245, 245), -1, cv2.LINE_AA)
        cv2.circle(canvas, eye, 10, person.integers(20, 130, 3).tolist(), -1, cv2.LINE_AA)
        cv2.line(canvas, (eye[0] - 26, eye[1] - 30), (eye[0] + 26, eye[1] - 32), hair, 7, cv2.LINE_AA)
    cv2.line(canvas, (x, y), (x - 8, y + 46), (skin * 0.75).tolist(), 6, cv2.LINE_AA)
    cv2.ellipse(canvas, (x, y + 88), (46, int(shot.uniform(8, 30))), 0, 0, 180, (70, 60, 170), -1, cv2.LINE_AA)
    light = np.linspace(shot.uniform(0.75, 1.1), shot.uniform(0.75, 1.1), 512)[None, :, None]
    lit = (canvas * light).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(lit, (size, size), interpolation=cv2.INTER_AREA))


def around(centre: np.ndarray, n: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """(n, D) unit rows whose mean cos-dist to `centre` is about `spread`."""
    noise = rng.normal(size=(n, D)).astype(np.float32)
    noise -= (noise @ centre)[:, None] * centre
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    close = np.clip(1 - spread * rng.uniform(0.5, 1.5, (n, 1)).astype(np.float32), -1, 1)
    return np.asarray(close * centre + np.sqrt(1 - close**2) * noise, np.float32)


def photo_of(rng: np.random.Generator, user: str, path: str = "/photos/none.jpg") -> cache.Photo:
    year = int(rng.integers(2004, 2026))
    return cache.Photo(path, rng.bytes(32).hex(), "faces", "", f"{year}-0{rng.integers(1, 10)}-11T12:00:00", 4000, 3000,
                       "original", "", user)


def faces_of(rng: np.random.Generator, rows: np.ndarray, photos: list[cache.Photo]) -> cache.Cache:
    """A cache of one face a photo."""
    n = len(rows)
    faces = np.zeros(n, cache.FACE)
    faces["photo"] = np.arange(n)
    faces["box"] = np.array([100, 90, 400, 420]) + rng.integers(0, 9, (n, 1))
    faces["det_score"], faces["face_short"], faces["blur"] = 0.8, 300, 300
    faces["quality"] = np.sort(rng.beta(7, 3, n))[::-1]
    return cache.Cache(MODEL, photos, faces, rows, np.full(n, 20, np.float32))


def add_faceset(root: Path, number: int, rows: np.ndarray, rng: np.random.Generator, *, name: str = "",
                names: dict[str, int] | None = None, run: str = "r1", pictures: list[Path] | None = None,
                size: int = 512) -> folders.Record:
    """Write one faceset of the faces `rows` (n, D), as export-swap does; `pictures` are linked instead of drawn."""
    folder, n = f"faceset_{number:03d}", len(rows)
    files.private_folder(root / folder)
    photos = [photo_of(rng, USERS[int(rng.random() < 0.3)]) for _ in range(n)]
    faces = faces_of(rng, rows, photos)
    centroid = unit_mean(rows)
    distance = 1 - rows @ centroid
    listed, keys = [], cache.face_keys(faces)
    written = {}
    for index in range(n):
        file = f"{index + 1:04d}.png"
        if pictures:
            os.link(pictures[index % len(pictures)], root / folder / file)
        else:
            cv2.imwrite(str(root / folder / file), portrait(number * 1000 + index, size))
        written[file] = "" if pictures else files.sha256_of(root / folder / file)
        listed.append({"rank": index + 1, "file": file, "face": keys[index], "photo": photos[index].path,
                       "sha256": photos[index].sha256, "asset_id": "", "user": photos[index].user,
                       "taken_at": photos[index].taken_at, "box": faces.faces["box"][index].tolist(),
                       "quality": float(faces.faces["quality"][index]), "parts": {},
                       "distance": float(distance[index]), "isolation": "alone", "light": [0.5, 0.0]})
    left = [{"face": key, "photo": "", "sha256": key[:64], "quality": 0.4, "distance": 0.5, "reason": reason}
            for key, reason in ((keys[0][:-1] + "7", "near-duplicate of 0001.png (similarity 0.97)"),
                                (keys[-1][:-1] + "8", "0.52 from the centroid, more than 0.45"))]
    years = folders.years_of(photos)
    users = {user: sum(photo.user == user for photo in photos) for user in USERS}
    proposed = next(iter(names), "") if names else ""
    write_faces(root / folder / FACES, Contents(faces, np.arange(1, n + 1), centroid))
    record = folders.Record(
        folder, number, name, proposed, run, "", float(distance.mean()), {u: c for u, c in users.items() if c},
        names=names or {}, created="2026-11-22T18:00:00Z", made_by="test", model=asdict(MODEL),
        centroid=[float(value) for value in centroid], eras=years, top=[item["file"] for item in listed[:8]],
        faces=listed, left_out=left, files=written)
    record.count()
    folders.write_record(root / folder / folders.MANIFEST, record)
    if name:
        folders.write_name(root / folder / folders.NAME, name)
    return record


def make_library(root: Path, count: int, seed: int = 1, faces: tuple[int, int] = (6, 60), drawn: int = 0,
                 size: int = 512) -> store.Library:
    """A library of `count` facesets with something of everything: look-alikes, two in one, conflicting names.

    drawn: how many pictures are drawn and linked again and again; 0 draws every one.
    """
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(drawn):
        pictures.append(root / "_drawn" / f"{number}.png")
        files.private_folder(root / "_drawn")
        cv2.imwrite(str(pictures[-1]), portrait(number * 1000))
    manifest = store.Manifest(count + 1, asdict(MODEL))
    centres = rng.normal(size=(count, D)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    for number in range(1, count + 1):
        centre = centres[number - 1]
        if number % 9 == 5:         # looks like the one before
            centre = around(centres[number - 2], 1, 0.38, rng)[0]
        rows = around(centre, int(np.exp(rng.uniform(*np.log(faces)))), 0.2, rng)
        if number % 13 == 7:        # two people in one
            rows = np.concatenate([rows, around(centres[number % count], 5, 0.2, rng)])
        said = NAMES[number % len(NAMES)] if number % 3 else ""
        names = {said: len(rows) - 2} if said else {}
        if said and number % 13 == 7:
            names[NAMES[(number + 1) % len(NAMES)]] = 4
        manifest.facesets.append(add_faceset(root, number, rows, rng, name=said if number % 2 else "", names=names,
                                             run="20261122-190000-cluster-peter" if number > count * 2 // 3 else "r1",
                                             pictures=pictures[number % 7::7] if drawn else None, size=size))
    manifest.runs = [{"run": "r1", "verb": "import-folders", "at": "2026-11-20T10:00:00Z",
                      "counts": {"facesets": count * 2 // 3, "pictures": 40},
                      "facesets": ["faceset_001", "faceset_002"]},
                     {"run": "20261122-190000-cluster-peter", "verb": "export-swap", "at": "2026-11-22T19:00:00Z",
                      "counts": {"facesets": count - count * 2 // 3}, "facesets": [f"faceset_{count:03d}"]}]
    store.write_manifest(root / "manifest.json", manifest)
    return store.Library(root)


def make_work(data_root: Path, seed: int = 2, stranger: int = 24) -> None:
    """What stage, embed and cluster leave of a user peter: state.db, queue.json, cache, refine.json."""
    rng = np.random.default_rng(seed)
    folder = files.private_folder(data_root / "immich" / "peter")
    photos = []
    for number in range(stranger):
        path = folder / "photos" / f"IMG_{number:04d}.jpg"
        files.private_folder(path.parent)
        cv2.imwrite(str(path), portrait(900_000 + number * 1000))
        photos.append(photo_of(rng, "peter", str(path)))
    found = faces_of(rng, around(np.eye(1, D, dtype=np.float32)[0], stranger, 0.9, rng), list(photos))
    place = folder / "photos"
    found.photos.append(cache.Photo(str(place / "broken.heic"), "ee" * 32, "error", "is cut short", user="peter"))
    found.photos.append(cache.Photo(str(place / "sunset.jpg"), "dd" * 32, "noface", user="peter"))
    cache.write(data_root / "cache" / "immich_peter.npz", found)
    entries = tuple(queues.Entry("", photo.path, "", photo.sha256, 1000) for photo in found.photos)
    later = queues.Entry("", "/photos/later.jpg", "", "cc" * 32, 1000)
    queues.write(folder / "queue.json", queues.Queue("peter", "https://photos.example.org", (*entries, later)))
    keys = cache.face_keys(found)
    third = stranger // 3
    proposal.write(folder / "refine.json", proposal.Proposal(
        "20261122-190000-cluster-peter", "cluster_immich.py", "2026-11-22T19:00:00Z", asdict(MODEL), (),
        {"min_quality": 0.3},
        ambiguous=tuple(proposal.Face(key, 0.41, "faceset_001 or faceset_002") for key in keys[:3]),
        rejected=tuple(proposal.Face(key, 0.0, "too small" if number % 2 else "blurred")
                       for number, key in enumerate(keys[3:third])),
        leftover=tuple(proposal.Face(key, 0.0, "seen once") for key in keys[third:]),
        counts={"faces": stranger, "held": 0, "known": 0, "ambiguous": 3, "rejected": third - 3, "new": 0,
                "thin": 0, "leftover": stranger - third, "facesets": 0, "thin_facesets": 0}))
    write_state(folder / "state.db", len(found.photos) + 1)


def write_state(path: Path, staged: int) -> None:
    """A state.db of one complete listing."""
    opened = state.State(path)
    opened.start_run()
    outcomes = [outcome for outcome, count in {"have": staged + 2, "known": 3, "small": 40, "none": 90, "excluded": 5,
                                               "error": 2}.items() for _ in range(count)]
    opened.put(state.Asset(f"{number:08d}", "2020", "2020-01", "timeline", f"{number}.jpg", "", f"c{number}", True, 1,
                           10, 10, "", "[]", outcome, "the server went away" if outcome == "error" else "")
               for number, outcome in enumerate(outcomes))
    opened.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE assets SET sha256 = 's' || MIN(CAST(id AS INTEGER), ?) WHERE outcome = 'have'", (staged - 1,))
    db.commit()
    db.close()

"""All that reads a file which somebody else may have written: name -> what reads it, and a sound one to damage."""

import argparse
import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from immich_lab import backups
from immich_lab.server import LabServer

import config
from facesets.cluster import seen
from facesets.common import files
from facesets.common.errors import Failure
from facesets.export import embeddings
from facesets.formats import cache, proposal
from facesets.formats import queue as queues
from facesets.formats.faceset import Contents, read_faces, write_faces
from facesets.immich import backup, preflight
from facesets.library import folder as folders
from facesets.library import journal, store
from facesets.operations import decided
from facesets.stage import elsewhere

SHA = "0123456789abcdef" * 4
KEY = f"{SHA}@1,2,3,4"


@dataclass(frozen=True)
class Parser:
    file: str                           # what the file is called
    read: Callable[[Path], object]
    sound: Callable[[Path], object]     # writes one that can be read


def _cache() -> cache.Cache:
    model = cache.Model("buffalo_l", SHA, SHA[::-1], 4, 0.45, 0.55)
    photos = [cache.Photo(f"/photos/{number}.jpg", f"{number:064x}", "faces", taken_at="2020-01-01T00:00:00.000Z",
                          width=100, height=80, asset_id="a", user="peter") for number in range(3)]
    faces = np.zeros(4, cache.FACE)
    faces["photo"], faces["box"], faces["det_score"] = [0, 1, 1, 2], [1, 2, 30, 40], 0.9
    rows = np.eye(4, dtype=np.float32)
    return cache.Cache(model, photos, faces, rows, np.full(4, 20, np.float32), [cache.Person("p", "Ann")] * 4,
                       {"/other.jpg": SHA})


def _faceset(path: Path) -> None:
    write_faces(path, Contents(_cache(), np.arange(4, dtype=np.int32), np.ones(4, np.float32) / 2))


def _record(path: Path) -> None:
    face = {"rank": 1, "file": "0001.png", "face": KEY, "photo": "/p", "sha256": SHA, "asset_id": "", "user": "",
            "taken_at": "", "box": [1, 2, 3, 4], "quality": 0.5, "parts": {}, "distance": 0.1, "isolation": "alone",
            "light": [1, 2]}
    folders.write_record(path, folders.Record("faceset_001", 1, faces=[face], files={"0001.png": SHA}))


def _manifest(path: Path) -> None:
    entry = folders.Record("faceset_001", 1, "Ann", years=[2001, 2002], users={"peter": 3})
    store.write_manifest(path, store.Manifest(2, asdict(_cache().model), [entry], runs=[{"run": "x", "verb": "y"}],
                                              not_this={"faceset_001": [KEY]}))


def _proposal(path: Path) -> None:
    group = proposal.Group((proposal.Face(KEY, 0.1),), "Ann", {"Ann": 1})
    proposal.write(path, proposal.Proposal("run", "x", "now", asdict(_cache().model), ("a.npz",), facesets=(group,),
                                           thin=(group,), extend={"faceset_001": group.faces}, rejected=group.faces))


def _queue(path: Path) -> None:
    entry = queues.Entry("a", "/p/1.jpg", "X:\\1.jpg", SHA, 5, aliases=(queues.Alias("b", "/q"),),
                          faces=(queues.ImmichFace((0.1, 0.2, 0.3, 0.4), "p", "Ann"),))
    queues.write(path, queues.Queue("peter", "https://x", (entry,), (queues.Known("c", "/r", SHA),)))


def _json(value: Any) -> Callable[[Path], None]:
    return lambda path: files.write_json(path, value)


def _users(path: Path) -> None:
    server = preflight.Server((2, 7, 2), None, "owner", "Peter", "a@b")
    preflight.is_user(server, "peter", path, "")


def _env(path: Path) -> None:
    values = config.dotenv(path)
    for section in config.SECTIONS:
        config.load(section, argparse.Namespace(), values)


def _decisions(path: Path) -> None:
    said = [{"do": "not-this", "faceset": "faceset_001", "face": KEY, "file": "0001.png"},
               {"do": "name", "faceset": "faceset_002", "name": "Ann"}, {"do": "drop", "faceset": "faceset_003"},
               {"do": "merge", "faceset": "faceset_004", "into": "faceset_001"}]
    files.write_json(path, {"schema": 1, "library": "x", "made": "now", "decisions": said})


def _plan(path: Path) -> None:
    plan = journal.Plan("export", "", ["a"], {"b": "a"}, {"b": SHA})
    files.write_json(path, {"schema": journal.SCHEMA, **dataclasses.asdict(plan)})


def _write_cache(path: Path) -> None:
    cache.write(path, _cache())


def _dump(path: Path) -> None:
    lab = LabServer()
    owner = lab.add_user("Peter")
    asset = lab.add_asset(owner, None, checksum=b"1" * 20, size=1, width=100, height=100)
    for box in ((1, 2, 30, 40), (50, 50, 90, 90)):
        lab.library.add_face(asset, lab.face(box, 100, 100, lab.add_person(owner, "Ann")))
    text = backups.dump(lab.library, lambda _: np.linspace(-1, 1, backup.D).round(2), config='{"machineLearning": {}}')
    path.write_text(text.replace(owner.id, "owner"))


PARSERS = {
    "backup": Parser("backup.sql", lambda path: backup.of_file(path, "owner"), _dump),
    "queue": Parser("queue.json", queues.read, _queue),
    "cache": Parser("immich_peter.npz", cache.read, _write_cache),
    "cache-processed": Parser("immich_peter.npz", cache.processed, _write_cache),
    "cache-model": Parser("immich_peter.npz", cache.model_of, _write_cache),
    "cache-paths": Parser("immich_peter.npz", elsewhere.photo_paths, _write_cache),
    "faceset": Parser("faces.npz", read_faces, _faceset),
    "record": Parser("manifest.json", folders.read_record, _record),
    "manifest": Parser("manifest.json", store.read_manifest, _manifest),
    "proposal": Parser("refine.json", proposal.read, _proposal),
    "seen": Parser("clustered.json", seen.read, _json({"schema": 1, "run": "x", "settings": {"a": 1}, "faces": [KEY]})),
    "decisions": Parser("decisions.json", decided.read, _decisions),
    "plan": Parser("plan.json", lambda path: journal._plan(path.parent), _plan),
    "users": Parser("users.json", _users, _json({"peter": {"id": "owner"}, "ann": "other"})),
    "visomaster": Parser("visomaster_embeddings.json", embeddings.visomaster_means, _json(
        [{"name": "Ann (faceset_001)", "embedding_store": {"Inswapper128ArcFace": [0.5] * 512}}])),
    "env": Parser(".env", _env, lambda path: files.write_bytes(
        path, b"FACESETS_KNOWN_DISTANCE=0.5 # why\nexport STAGE_DIR='/a b'\nIMMICH_URL=https://x\n")),
}


def attempt(name: str, folder: Path, data: bytes) -> str:
    """Let a parser read `data`; "read", or why not. Anything but a Failure is a defect and comes through."""
    parser = PARSERS[name]
    path = folder / parser.file
    path.touch(files.FILE_MODE)
    path.write_bytes(data)
    try:
        parser.read(path)
    except Failure as error:
        words = str(error)
        assert words.strip() and "\n" not in words, f"not one line: {words!r}"
        assert len(words) < 5000, "a message of the size of the file"
        return words
    return "read"


def sound(name: str, folder: Path) -> bytes:
    path = folder / PARSERS[name].file
    PARSERS[name].sound(path)
    return path.read_bytes()


def npz(members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def array(value: np.ndarray, pickled: bool = False) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, value, allow_pickle=pickled)
    return out.getvalue()


def text(value: object) -> bytes:
    """A JSON member of a cache."""
    return array(np.frombuffer(json.dumps(value).encode("utf-8", "surrogatepass"), np.uint8))

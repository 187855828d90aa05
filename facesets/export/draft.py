"""A faceset on its way to disk: what it is made of, which pictures it wants, and the folder that comes of it.

`plan` chooses, `picture` makes what is missing, `assemble` writes the folder into a change of the library.
An existing folder keeps its pictures: they only change places. What a person did in it holds: a picture that was
deleted is not made again, one that was changed stays as it is, a foreign file is never overwritten.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..common import files
from ..formats import cache, quality
from ..formats.faceset import FACES, Contents, read_faces, write_faces
from ..formats.vectors import unit_mean
from ..library import folder as folders
from ..library.folder import Record
from ..library.members import Index, pick
from ..library.run import Run
from . import embeddings, fsz, outside
from .crop import NEVER, RULES
from .handwork import CHANGED, TOP, Picture, Pictures, as_it_lies, own_files
from .looks import Looks
from .render import OTHER, Wish, changed, render
from .select import ONE_MOMENT, Selection, best_first, one_moment, select, varied

CLEANED = ("cleaned", "masked")     # pictures in which something was painted; "masked" ones are of an earlier version
ENDINGS = ("_all.fsz", "_top8.fsz", ".safetensors")     # of the tools' files
ENLARGED = 2                        # times, from which on a picture looks enlarged
LESS_CLEANED, LESS_ENLARGED = 0.5, 0.25     # of its worth, what a picture loses for it among the top ones


@dataclass(frozen=True)
class Options:
    """How facesets are made: what looks at their pictures, and the fields of config.Exporting."""

    open_looks: Callable[[], Looks]         # called once, and only if a picture has to be made
    image_size: int = 512
    padding: float = 0.5
    outlier_distance: float | None = None   # None: the model's known_distance
    duplicate_similarity: float = 0.95
    top: int = 8
    export_workers: int = 2


@dataclass
class Draft:
    record: Record                      # folder, number, name and what else is settled already
    members: cache.Cache                # N faces
    keys: list[str]
    selection: Selection
    have: Pictures                      # pictures that there are
    anew: set[str]                      # keys of those that are made anew
    notes: list[str]
    made: set[str] = field(default_factory=set)                     # keys of `have` whose pictures this run made
    failed: dict[str, str] = field(default_factory=dict)            # keys of faces that it made none of, and why
    pictured: list[int] = field(default_factory=list)               # rows with a picture, best first
    worth: np.ndarray = field(default_factory=lambda: np.zeros(0))  # of `pictured`, for the choice of the top ones

    def take(self, made: Mapping[str, Picture | str]) -> None:
        """Enter what became of the pictures that were wanted."""
        for key in self.anew:       # made or not, or every run would try
            self.have[key][1]["rules"] = RULES
        for key in [self.keys[row] for row in self.selection.order]:
            if isinstance(found := made.get(key), str):
                self.failed[key] = found
            elif found:
                self.have[key] = found
                self.made.add(key)

    def entry(self, row: int) -> dict[str, Any]:
        """What the manifest says of the picture of a row."""
        return self.have[self.keys[row]][1]


def existing(run: Run, folder: str) -> tuple[Record, Contents]:
    """Manifest and faces of a folder of the library, as the change of `run` would leave them."""
    contents = read_faces(run.current(f"{folder}/{FACES}"))
    ours = replace(contents.faces, model=cache.Model(**run.manifest.model)) if run.manifest.model else contents.faces
    return run.record(folder), replace(contents, faces=ours)     # with the distances of today


def plan(run: Run, record: Record, members: cache.Cache, options: Options,
         refused: Mapping[str, str] = MappingProxyType({}), renew: bool = False) -> Draft:
    """Choose the faces of a faceset.

    record.faces says which pictures it has, the manifest's not_this which faces are not in it, and `refused` which ones
    get no picture and why (face key -> reason). To `renew` it makes what was made under older RULES anew, where the
    photo is still there, but for what a person changed.
    """
    keys = cache.face_keys(members)
    have, gone, notes = as_it_lies(run, record)
    anew = {key for key, (_, entry) in have.items() if renew and int(entry.get("rules", 1)) < RULES
            and entry["isolation"] != CHANGED and os.access(entry["photo"], os.R_OK)}
    never = [item for item in record.left_out if item["reason"] in NEVER and not anew]
    refused = {**refused, **gone, **{item["face"]: item["reason"] for item in never}}
    refused |= {key: folders.NOT_THIS for key in run.manifest.not_this.get(record.folder, ())}
    shown = {f"{ONE_MOMENT} {Path(have[key][1]['photo']).name}" for key in keys if key in have and key not in refused}
    refused |= {item["face"]: item["reason"] for item in record.left_out if item["reason"] in shown}
    rows = [row for row, key in enumerate(keys) if key not in refused]
    names = [Path(members.photos[photo].path).name for photo in members.faces["photo"]]
    outlier = options.outlier_distance or members.model.known_distance
    chosen = select(members.embeddings[rows], members.faces["quality"][rows], members.faces["photo"][rows],
                    [names[row] for row in rows], outlier, options.duplicate_similarity)
    distance = np.full(len(keys), np.nan, np.float32)
    distance[rows] = chosen.distance
    reasons = {rows[index]: reason for index, reason in chosen.reasons.items()}
    reasons |= {row: refused[key] for row, key in enumerate(keys) if key in refused}
    return Draft(record, members, keys, Selection([rows[index] for index in chosen.order], reasons, distance), have,
                 anew, notes)


def picture(run: Run, drafts: Sequence[Draft], options: Options, index: Index | None = None) -> None:
    """Make the missing pictures of `drafts`, each photo decoded once, and settle which rows of each have one.

    With `index`, all faces that its caches know in a photo are kept out of the others' pictures.
    """
    wanted: dict[str, list[Wish]] = {}      # by photo
    for draft in drafts:
        for row in draft.selection.order:
            if draft.keys[row] not in draft.have or draft.keys[row] in draft.anew:
                face = draft.members.faces[row]
                photo = draft.members.photos[face["photo"]]
                x1, y1, x2, y2 = (float(side) for side in face["box"])
                others = index.boxes(photo.sha256) if index else ()
                wanted.setdefault(photo.path, []).append(Wish(draft.keys[row], (x1, y1, x2, y2), others,
                                                               draft.members.embeddings[row], photo.turn))
    made = render(wanted, run.scratch / "pictures", options.open_looks(), options.image_size, options.padding,
                  options.export_workers) if wanted else {}
    run.notes += changed([path for path, faces in wanted.items() if any(made[wish.key] == OTHER for wish in faces)])
    for draft in drafts:
        draft.take(made)
        choose(draft, options)


def choose(draft: Draft, options: Options) -> None:
    """Settle which rows have a picture, in the order in which one would choose them; of each moment the best stays."""
    selected, members = draft.selection.order, draft.members
    failed = {row: reason for row in selected if (reason := draft.failed.get(draft.keys[row]))
              and (draft.keys[row] not in draft.have or reason in NEVER)}
    draft.selection.reasons.update(failed)
    rows = np.array([row for row in selected if row not in failed], np.int64)
    meta, norms = members.faces[rows], members.norms[rows]
    enlarged = ENLARGED * meta["face_short"] * (1 + 2 * options.padding) < options.image_size
    cleaned = np.array([draft.entry(row)["isolation"] in CLEANED for row in rows], bool)
    worth = quality.worth(meta["quality"], norms, float(np.median(norms)) if len(norms) else 1.0)
    order = best_first(worth, draft.selection.distance[rows], cleaned, enlarged)   # enlarged last
    rows, worth = rows[order], (worth - LESS_CLEANED * cleaned - LESS_ENLARGED * enlarged)[order]
    same = one_moment(members.embeddings[rows], [draft.entry(row).get("look", "") for row in rows])
    for at, better in same.items():
        photo = members.photos[members.faces["photo"][rows[better]]]
        draft.selection.reasons[int(rows[at])] = f"{ONE_MOMENT} {Path(photo.path).name}"
    kept = [at for at in range(len(rows)) if at not in same]
    draft.pictured, draft.worth = rows[kept].tolist(), worth[kept]


def assemble(run: Run, draft: Draft, options: Options) -> Record:
    """Build the folder of a draft with at least one picture, and put it into the change; its new manifest."""
    record, members = draft.record, draft.members
    pictured = set(draft.pictured)
    rest = [row for row in best_first(members.faces["quality"], np.zeros(len(members.faces))) if row not in pictured]
    rank = np.zeros(len(draft.keys), np.int32)
    rank[:len(draft.pictured)] = np.arange(1, len(draft.pictured) + 1)
    centroid = unit_mean(members.embeddings[draft.pictured])
    distance = 1 - members.embeddings @ centroid

    built = run.fresh()
    kept = {draft.keys[row] for row in draft.pictured}
    own_files(run.current(record.folder), record, built, (had for key, had in draft.have.items() if key not in kept))
    entries = _pictures(draft, distance, built)
    chosen = varied(draft.worth, members.faces["yaw"][draft.pictured],
                    members.faces["pitch"][draft.pictured], np.array([item["light"] for item in entries]), options.top)
    new = replace(
        record, centroid=[round(float(value), 7) for value in centroid], model=asdict(members.model),
        spread=round(float(distance[draft.pictured].mean()), 4),
        eras=folders.years_of(members.photos[members.faces["photo"][row]] for row in draft.pictured),
        users=dict(sorted(Counter(members.photos[photo].user for photo in members.faces["photo"]).items())),
        faces=entries, top=sorted(entries[index]["file"] for index in chosen),
        left_out=[{**_who(members, row), "distance": round(float(distance[row]), 4),
                   "reason": draft.selection.reasons.get(row, "")} for row in rest])
    write_faces(built / FACES, Contents(pick(members, [*draft.pictured, *rest]), rank, centroid))
    ours = [*(item["file"] for item in entries), FACES, *_tools(run, built, draft, new)]
    digests = {name: files.sha256_of(built / name) for name in ours}
    if new.name and new.name != folders.name_on_disk(built / folders.NAME):
        folders.write_name(built / folders.NAME, new.name)
        digests[folders.NAME] = files.sha256_of(built / folders.NAME)
    elif new.name and folders.NAME in record.files:
        digests[folders.NAME] = record.files[folders.NAME]
    new.files = dict(sorted(digests.items()))
    new.count()
    folders.write_record(built / folders.MANIFEST, new)
    run.put(built, record.folder)
    return new


def _pictures(draft: Draft, distance: np.ndarray, built: Path) -> list[dict[str, Any]]:
    """Put the pictures into `built` under the names of their ranks; the entries of the manifest."""
    entries: list[dict[str, Any]] = []
    number = 0
    for rank, row in enumerate(draft.pictured, 1):
        number += 1
        while (built / f"{number:04d}.png").exists():   # a person's file of that name stays
            number += 1
        name, picture = f"{number:04d}.png", draft.entry(row)
        files.link(draft.have[draft.keys[row]][0], built / name)
        face = draft.members.faces[row:row + 1]
        entries.append({
            "rank": rank, "file": name, **_who(draft.members, row), "distance": round(float(distance[row]), 4),
            "isolation": picture["isolation"], "light": picture["light"], "look": picture.get("look", ""),
            "rules": picture.get("rules", 1), "box": [round(float(side), 1) for side in face["box"][0]],
            "turn": draft.members.photos[face["photo"][0]].turn,
            "parts": {part: round(float(value[0]), 4) for part, value in quality.parts(face).items()}})
    return entries


def _who(members: cache.Cache, row: int) -> dict[str, Any]:
    face = members.faces[row]
    photo = members.photos[face["photo"]]
    return {"face": cache.face_key(photo.sha256, face["box"]), "photo": photo.path, "sha256": photo.sha256,
            "asset_id": photo.asset_id, "user": photo.user, "taken_at": photo.taken_at,
            "quality": round(float(face["quality"]), 4)}


def _tools(run: Run, built: Path, draft: Draft, record: Record) -> list[str]:
    """Write the files of the swap tools; their names."""
    folder, start = Path(record.folder).name, outside.stem(record, run.manifest.facesets)
    everything, best, model = (f"{folder if (built / f'{start}{ending}').exists() else start}{ending}"
                               for ending in ENDINGS)      # a person's file of that name stays
    top = [item for item in record.faces if item["file"] in record.top]
    fsz.write(built / everything, folder, record.faces)
    fsz.write(built / best, folder, top)
    for item in top:
        if not (built / TOP / item["file"]).exists():       # a person's file of that name stays
            files.link(built / item["file"], built / TOP / item["file"])
    if not embeddings.usable(draft.members.model):
        return [everything, best]
    raw = draft.members.raw[draft.pictured]
    embeddings.reactor(built / model, draft.members.faces[draft.pictured[0]], raw.mean(axis=0))
    return [everything, best, model]


def call(run: Run, record: Record) -> None:
    """Give the tools' files of a faceset the name that it has by now; `record` is written by the caller."""
    start = outside.stem(record, run.manifest.facesets)
    for old in list(record.files):
        for ending in ENDINGS:
            before, now = f"{record.folder}/{old}", f"{record.folder}/{start}{ending}"
            if old.endswith(ending) and not run.exists(now) and run.exists(before):
                files.link(run.current(before), run.write(now))
                run.remove(before)
                record.files[f"{start}{ending}"] = record.files.pop(old)

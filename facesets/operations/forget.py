"""forget: every trace of a person, in the library, the caches, the proposals and the report; and what was removed.

Nothing that could be undone is left: the runs that can be taken back go too, since they hold her pictures. The photos
themselves are not touched, neither on the server nor in the staging folder; the summary says so.

First every face that is hers is found, and written into `.forgetting.json` of the library: what a kill leaves, the same
command finishes, though by then part of what she was known by is gone. The library goes last, and that file with it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..cluster import seen
from ..common import files, terminal
from ..common.errors import Failure, UsageError, of_disk
from ..embed.parts import Parts
from ..export import outside
from ..export.run import changing
from ..formats import cache, proposal
from ..formats.boxes import overlap
from ..formats.cache import short_key
from ..formats.faceset import FACES, read_faces, read_keys
from ..formats.proposal import Face, Group, Proposal
from ..library import journal
from ..library.folder import MANIFEST, Record
from ..library.run import Run
from ..library.store import LISTS, Library, Manifest
from . import edit

REPORT = ("index.html", "_report", "decisions.json")     # what `report` writes at the top of the library
REVIEW, REVIEW_LOCK = ".review.jsonl", ".review.lock"   # what was answered to `review`, and held while it is open
SAME_FACE = 0.5     # intersection over union from which two boxes of one photo are one face, whoever found them
BEGUN = ".forgetting.json"      # {"folders", "keys": [face keys]} of a `forget` that has not ended


@dataclass(frozen=True)
class Places:
    """Where, besides the library, faces of hers may be. The locks are held while they are removed."""

    caches: Sequence[Path]
    proposals: Sequence[Path]       # refine.json
    memories: Sequence[Path]        # clustered.json
    summaries: Sequence[Path]       # summary.json
    locks: Sequence[Path]

    @property
    def parts(self) -> list[Path]:
        """The caches and the parts of runs that were stopped."""
        return [found for path in self.caches for found in Parts(path).written]


@dataclass
class Forgotten:
    folders: list[str] = field(default_factory=list)
    faces: dict[str, int] = field(default_factory=dict)         # cache -> faces removed from it
    proposals: dict[str, int] = field(default_factory=dict)     # refine.json, clustered.json -> faces removed from it
    runs: int = 0                                               # that could have been taken back
    outside: list[str] = field(default_factory=list)            # what other programs were given, a line a folder
    in_immich: list[str] = field(default_factory=list)          # what `immich-names` wrote there, which stays
    report: bool = False
    dry_run: bool = False
    in_doubt: bool = False      # nobody can tell whether all of her faces were found


def forget(library: Library, person: str, places: Places, command: str,
           tell: Callable[[Forgotten], object]) -> Forgotten:
    """Remove a person: the faceset `person`, its eras, all that was merged into it; her faces in `places`; the report.

    A face is hers if a folder of hers holds it, or if it is in no other faceset and lies within the model's distance
    of her centroid, nearer than to anybody else's, or has the name that Immich gives her. `command` and `tell` are
    those of library.run.changing. Raises Paused, with nothing removed, where a run that could bring faces back is at
    work.
    """
    with ExitStack() as held:
        for lock in places.locks:
            held.enter_context(files.only_one(lock, "sort_faces.py forget"))
        done = Forgotten()
        with changing(library, "forget", command=command, tell=lambda run: tell(done)) as run:
            try:
                done = _forget(library, run.manifest, person, places, run)
            except OSError as error:        # of which `changing` would say that nothing was changed
                raise type(of_disk(error))(
                    f"{error.filename or library.root}: {error.strerror or error}; a part of the person is gone "
                    "already, mend that and run the same command again") from None
    return done


def would_forget(library: Library, person: str, places: Places) -> Forgotten:
    """What `forget` would remove."""
    return _forget(library, library.manifest(), person, places, None)


def _forget(library: Library, manifest: Manifest, person: str, places: Places, run: Run | None) -> Forgotten:
    hers = person_of(manifest, person)
    keys, centroids = _faces_of(library, hers)
    done = Forgotten(dry_run=run is None, runs=len(journal.history(library.root)),
                     report=any((library.root / name).exists() for name in REPORT))
    if not centroids:       # she was taken away by hand
        keys |= {face.face for path in places.proposals for entry in hers
                 for face in proposal.read(path).extend.get(entry.folder, ())}
        done.in_doubt = True
    keys |= _begun(library, hers)
    gone = {entry.folder for entry in hers} | _like(library, manifest, keys)
    others = {key for key, folder in library.settled().items() if folder not in gone}
    keys |= _near(library, gone, places.parts, centroids) - others
    keys |= _called(places.parts, keys) - others
    done.folders = sorted(gone | _like(library, manifest, keys))
    done.in_immich = sorted({line for folder in done.folders for line in _in_immich(library, folder)})
    if run:
        files.write_json(library.root / BEGUN, {"folders": [entry.folder for entry in hers], "keys": sorted(keys)})
    done.outside = outside.forget(library.root, {Path(folder).name for folder in done.folders}, run is None)
    done.proposals = {str(path): faces for path in places.proposals
                      if (faces := _from_proposal(path, keys, gone, run is None))}
    for path in places.summaries if run else ():
        _from_summary(path)
    done.proposals |= {str(path): faces for path in places.memories if (faces := seen.forget(path, keys, run is None))}
    done.faces = {str(path): faces for path in places.parts if (faces := _from_cache(path, keys, run is None))}
    if run:
        _from_library(run, done.folders, keys)
    return done


def _in_immich(library: Library, folder: str) -> Iterator[str]:
    with suppress(Failure):     # whose manifest cannot be read is forgotten all the same
        for user, mine in library.record(folder).in_immich.items():
            yield from (f"the name {terminal.name(given)} that a person of {user} got" for _, given in
                        mine.get("people", {}).values())
            if mine.get("album") or mine.get("sign"):
                yield f"the album of {user} for {folder}"


def _from_summary(path: Path) -> None:
    """Who was there by a backup is not known any more: the names of all who were are in it."""
    value = files.read_json(path)
    if value.pop("who_is_there", None) is not None:
        files.write_json(path, value)


def person_of(manifest: Manifest, text: str) -> list[Record]:
    """All folders of the person that is meant: with a faceset its eras, what it took in, and what took it in."""
    found = edit.matching(manifest, text, LISTS)
    hers = found[:1]
    while more := [entry for entry in manifest.entries
                   if entry not in hers and any(_one_person(entry, other) for other in hers)]:
        hers += more
    if not found or any(entry not in hers for entry in found):
        raise UsageError(edit.not_one(manifest, text, found))
    return hers


def _one_person(a: Record, b: Record) -> bool:
    homes = (Path(a.folder).name, Path(b.folder).name)      # `into` may have moved since
    return bool(a.number and a.number == b.number) or a.into == homes[1] or b.into == homes[0]


def _faces_of(library: Library, entries: Iterable[Record]) -> tuple[set[str], list[np.ndarray]]:
    keys: set[str] = set()
    centroids = []
    for entry in entries:
        place = library.root / entry.folder / FACES
        if place.exists():
            contents = read_faces(place)
            keys |= set(contents.keys)
            centroids.append(contents.centroid)
    return keys, centroids


def _begun(library: Library, hers: Sequence[Record]) -> set[str]:
    """Her faces as a `forget` of hers that was cut short had found them; it has to end before another person's."""
    if not (library.root / BEGUN).exists():
        return set()
    begun = files.read_json(library.root / BEGUN)
    folders = list(map(str, begun.get("folders", ())))
    if folders and not any(entry.folder in folders for entry in hers):
        raise Failure(f"the forget of {folders[0]} was cut short; run that again first, or remove "
                      f"{library.root / BEGUN} to keep what is left of it")
    return set(map(str, begun.get("keys", ())))


def _near(library: Library, hers: set[str], paths: Iterable[Path], centroids: Sequence[np.ndarray]) -> set[str]:
    """Keys of the faces in caches that are hers by likeness."""
    others = [item.centroid for item in library.everybody() if item.folder not in hers]
    manifest = library.manifest()
    found: set[str] = set()
    for path in paths:
        whole = cache.read(path)
        if not centroids or whole.model.sha256 != (manifest.model or {}).get("sha256"):
            continue        # its faces cannot be compared
        apart = (1 - whole.embeddings @ np.array(centroids).T).min(axis=1)                      # (N,)
        strange = (1 - whole.embeddings @ np.array(others).T).min(axis=1) if others else np.inf
        near = (apart <= manifest.known_distance) & (apart < strange)
        found |= {key for key, is_near in zip(cache.face_keys(whole), near, strict=True) if is_near}
    return found


def _called(paths: Iterable[Path], keys: set[str]) -> set[str]:
    """Keys of the faces that Immich calls what it calls her, however unlike: of people most of whose faces are hers."""
    faces: dict[str, set[str]] = {}     # Immich's id of a person -> keys
    for path in paths:
        whole = cache.read(path)
        for key, person in zip(cache.face_keys(whole), whole.persons, strict=True):
            faces.setdefault(person.id, set()).add(key)
    return {key for number, theirs in faces.items() if number and 2 * len(theirs & keys) > len(theirs)
            for key in theirs}


def _like(library: Library, manifest: Manifest, keys: set[str]) -> set[str]:
    """Folders without a number of their own that hold mostly her faces: thin groups, copies that somebody made."""
    found = set()
    for folder, path in _all_with(library, FACES):
        entry, held = manifest.entry(folder), read_keys(path)
        if not (entry and entry.number) and 2 * len(keys.intersection(held)) > len(held):
            found.add(folder)
    return found


def _all_with(library: Library, name: str) -> Iterator[tuple[str, Path]]:
    """Every folder of the library, listed or not, that holds a file of this name, and that file."""
    for path in (*library.root.glob(f"[!.]*/{name}"), *library.root.glob(f"_*/*/{name}")):
        yield path.parent.relative_to(library.root).as_posix(), path


def _from_cache(path: Path, keys: set[str], dry_run: bool) -> int:
    """Remove faces from a cache; its photos stay, so that none is embedded again.

    Another model's detector put its box a little elsewhere, so a face of the same photo that overlaps hers is hers.
    """
    whole, boxes = cache.read(path), cache.boxes_of(keys)
    stay = np.array([photo not in boxes or overlap(box, boxes[photo]).max() < SAME_FACE for photo, box in zip(
        (whole.photos[number].sha256 for number in whole.faces["photo"]), whole.faces["box"], strict=True)], bool)
    if not stay.all() and not dry_run:
        rows = np.flatnonzero(stay)
        left = set(whole.faces["photo"][rows].tolist())
        photos = [replace(photo, status="noface") if photo.status == "faces" and number not in left else photo
                  for number, photo in enumerate(whole.photos)]
        cache.write(path, replace(whole, photos=photos, faces=whole.faces[rows], embeddings=whole.embeddings[rows],
                                  norms=whole.norms[rows], persons=[whole.persons[row] for row in rows]))
    return int((~stay).sum())


def _from_proposal(path: Path, keys: set[str], hers: set[str], dry_run: bool) -> int:
    """Remove faces from a refine manifest, and what Immich calls the groups that they were in."""
    made = proposal.read(path)
    gone = 0

    def without(faces: Iterable[Face]) -> tuple[Face, ...]:
        nonlocal gone
        faces = tuple(faces)
        rest = tuple(face for face in faces if face.face not in keys)
        gone += len(faces) - len(rest)
        return rest

    def groups(items: Iterable[Group]) -> Iterator[Group]:
        for group in items:
            rest = without(group.faces)
            if rest:
                yield group if len(rest) == len(group.faces) else replace(group, faces=rest, proposed_name="", names={})

    clean: Proposal = replace(
        made, facesets=tuple(groups(made.facesets)), thin=tuple(groups(made.thin)), ambiguous=without(made.ambiguous),
        rejected=without(made.rejected), leftover=without(made.leftover),
        extend={folder: rest for folder, faces in made.extend.items()
                if (rest := without(faces)) and folder not in hers})
    if clean != made and not dry_run:
        proposal.write(path, clean)
    return gone


def _from_library(run: Run, gone: Sequence[str], keys: set[str]) -> None:
    """Take the folders out, and with them everything that could bring them back."""
    manifest = run.manifest
    for folder in gone:
        run.remove(folder)
        manifest.take_out(folder)
        manifest.unsaid(folder)
        run.touch(folder)
    left = {folder: [key for key in refused if key not in keys] for folder, refused in manifest.not_this.items()}
    manifest.not_this = {folder: refused for folder, refused in left.items() if refused}
    hers = set(map(short_key, keys))
    manifest.reviewed = {folder: [face for face in faces if face not in hers]
                         for folder, faces in manifest.reviewed.items()}
    for folder, path in _all_with(run.library, MANIFEST):       # of an earlier version, which kept them there too
        if folder not in gone and keys.intersection(files.read_json(path).get("not_this") or ()):
            run.write_record(run.record(folder))
    manifest.forgotten += 1
    for name in (*REPORT, REVIEW, BEGUN):
        run.remove(name)
    run.final = True


def text(done: Forgotten) -> list[str]:
    """What is gone, or would go, as a person reads it."""
    lines = [f"folders: {', '.join(done.folders)}"]
    lines += [f"{path}: {count:,} faces" for path, count in (*done.faces.items(), *done.proposals.items())]
    lines += done.outside
    lines += ["the report (make it again: sort_faces.py report)"] if done.report else []
    lines += [f"{done.runs} runs that could have been taken back"] if done.runs else []
    head = "this would go for good; do it with --yes:" if done.dry_run else "gone for good:"
    doubt = ["her folder was removed by hand, so nobody can tell which other faces in the caches are hers; to be sure, "
             "remove the caches and embed again"] if done.in_doubt else []
    undo = "take it away there" if not done.dry_run else \
        "before --yes, sort_faces.py undo takes back the runs of immich-names, as far as it still has them"
    there = [f"not touched in Immich; {undo}:", *(f"  {line}" for line in done.in_immich)] if done.in_immich else []
    return [head, *(f"  {line}" for line in lines), *doubt, *there,
            "not touched: the photos themselves, in the staging folder and on the server, and what Immich says of them "
            "(queue.json); the logs beside it, which may name her; what you copied elsewhere; what a run that was "
            "stopped left with Windows, until the next finalize_immich.sh"]

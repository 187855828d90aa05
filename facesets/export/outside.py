"""A folder of the operator's own, outside the library, that an export keeps up to date.

What we wrote is listed in it with its SHA-256 (`.facesets.json`), so that the next export replaces and removes that and
nothing else: a caption or a picture that a person changed or added stays as it is. A picture is called by its photo, so
that one they deleted stays away, with its mask and its caption. While files take their places, what comes is listed
beside what was: whatever a kill leaves of either is known as ours. The library remembers the folders, so that what is
there of a person can be forgotten.
"""

import itertools
import os
import re
import shutil
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..common import files, terminal
from ..common.errors import Failure
from ..library.folder import FILE, NOT_THIS, Record

REMEMBERED = ".outside.json"       # in the library: folder, and the faceset that it is of, "" for sidecars of anybody
LISTED, SCRATCH, LOCK, SCHEMA = ".facesets.json", ".facesets.pending", ".facesets.lock", 1
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)        # Windows opens a device instead
NAMED = re.compile(r"(?:\d+-)?([0-9a-f]{12})(?:-[a-z]+)?")      # a picture: its rank, its photo, its framing
MOVING = ".{}.moving"       # where a folder lies while two exchange their names
LONGEST = 120       # bytes of a folder's name


@contextmanager
def updating(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; at the end its files take the places of those that we wrote before."""
    scratch = files.private_folder(folder) / SCRATCH
    files.remove(scratch)
    try:
        yield files.private_folder(scratch)
        _take_over(folder, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _take_over(folder: Path, scratch: Path) -> None:
    known = _known(folder)
    before, coming = known["files"], known["coming"]
    new = {path.relative_to(scratch).as_posix(): files.sha256_of(path)
           for path in sorted(scratch.rglob("*")) if path.is_file()}
    there = {name: files.sha256_of(folder / name) for name in before | coming if (folder / name).is_file()}
    ours = {name for name, digest in there.items() if digest in (before.get(name), coming.get(name))}
    gone = _deleted(folder, known)
    deleted = {name: before[name] for name in before if _is_picture(name) and _shown(name) in gone}
    # what a person changed keeps what belongs to it and is not made any more; and a picture its mask, a mask its
    # picture, or a trainer refuses the folder
    theirs = {name: before[name] for name in before if name in there.keys() - ours}
    made = {_shown(name) for name in new}
    kept = {_shown(name) for name in theirs if _shown(name) not in made} if made else set()
    fixed = {_shown(name) for name in theirs if name.endswith(".png")}
    stay = {name: there[name] for name in ours if _shown(name) in kept
            or (_shown(name) in fixed and name in new and name.endswith(".png"))}
    old = {name: there[name] for name in ours - new.keys() - stay.keys()}
    was = before | {name: there[name] for name in ours}
    files.write_json(folder / LISTED, {
        **known, "files": {name: was[name] for name in was if name not in old}, "coming": new | old})
    for name in sorted(old):
        (folder / name).unlink()
    for name in [name for name in new if name not in stay]:
        if name not in ours and os.path.lexists(folder / name):
            new[name] = was.get(name, "")       # a person's; what we wrote there once is still not theirs
        elif there.get(name) != new[name]:      # else it stays, for whoever looks at times
            files.private_folder((folder / name).parent)
            os.replace(scratch / name, folder / name)
    folders = {folder / parent for name in before | coming for parent in Path(name).parents} - {folder}
    for place in sorted(folders, reverse=True):
        with suppress(OSError):         # of one that is not empty; a person's own folders stay
            place.rmdir()
    files.write_json(folder / LISTED, {**known, "files": deleted | new | stay | theirs, "coming": {}})


def called(face: Mapping[str, Any]) -> str:
    """What the name of a face's picture has of its photo, so that it is the same whichever others there are."""
    return str(face["sha256"][:12])


def photo_of(stem: str) -> str:
    """What the name of a picture has of its photo, "" where it is none of a photo."""
    found = NAMED.fullmatch(stem)
    return found[1] if found else ""


def _shown(name: str) -> str:
    """What a picture, its mask and its caption have in common."""
    return Path(name).stem.removesuffix("-masklabel")


def _is_picture(name: str) -> bool:
    return name.endswith(".png") and not name.endswith("-masklabel.png") and Path(name).parent.name != "masks"


def _deleted(folder: Path, known: dict[str, Any]) -> set[str]:
    pictures = {name for name in known["files"] if _is_picture(name)}
    gone = {_shown(name) for name in pictures if not os.path.lexists(folder / name)}
    return gone if len(gone) < len(pictures) or known["coming"] else set()      # a kill may have taken the others


def handwork(folder: Path) -> tuple[set[str], set[str]]:
    """What an earlier export wrote into `folder`, without the endings: the pictures that are there, and those that a
    person deleted; of these none where no picture is left, since then all are wanted anew."""
    known = _known(folder)
    gone = _deleted(folder, known)
    return {_shown(name) for name in known["files"] if _is_picture(name)} - gone, gone


def without_strangers(folder: Path, record: Record) -> list[str]:
    """Remove what lies in `folder` of faces that are in the faceset no more, whatever a person did to it; a line of
    what they had changed."""
    known = _known(folder)
    hers = {called(face) for face in (*record.faces, *record.left_out) if face.get("reason") != NOT_THIS}
    out = {name: digest for name, digest in known["files"].items()
           if photo_of(_shown(name)) not in ("", *hers) and (folder / name).is_file()}
    changed = [name for name, digest in out.items() if files.sha256_of(folder / name) != digest]
    for name in out:
        (folder / name).unlink()
    if out:
        files.write_json(folder / LISTED, {
            **known, "files": {name: digest for name, digest in known["files"].items() if name not in out}})
    return [f"{len(changed)} that you had changed went, since the face is not hers any more, e.g. "
            f"{terminal.safe(folder / changed[0])}"] if changed else []


def lying(folder: Path, ending: str) -> tuple[int, int, list[str]]:
    """How many files of an export with that ending lie in `folder`, how many there are a person's by now, and a line
    of these."""
    listed = {name: digest for name, digest in _known(folder)["files"].items() if name.endswith(ending)
              and (folder / name).is_file()}
    theirs = [name for name, digest in listed.items() if files.sha256_of(folder / name) != digest]
    return len(listed) - len(theirs), len(theirs), [
        f"{len(theirs)} of yours lie where ours would and stay as they are, e.g. "
        f"{terminal.safe(folder / theirs[0])}"] if theirs else []


def _known(folder: Path) -> dict[str, Any]:
    """What is listed in `folder`: the files that lie there, those that were to come, and the library they are of."""
    place = folder / LISTED
    if not place.exists():
        return {"schema": SCHEMA, "library": "", "files": {}, "coming": {}}
    then = "; remove it, and what was written there before stays"
    try:
        found = {"library": "", "coming": {}, **files.read_json(place, SCHEMA)}
    except Failure as error:
        raise Failure(f"{error}{then}") from None
    with files.understood(place, "a list of ours", then):
        files.texts({"of": "", **found}, "library", "of")
        for name, digest in (*found["files"].items(), *found["coming"].items()):
            if not isinstance(digest, str) or ".." in Path(name).parts or Path(name).is_absolute():
                raise ValueError(f"{name!r:.60} is no file of ours")
    return found


@contextmanager
def alone(library: Path, target: Path, folders: Mapping[Path, str]) -> Iterator[None]:
    """Hold `target`, so that an export of another library does not write there meanwhile.

    Raises Failure, before anything is touched, where one of its `folders` (and what each is of, as `remember` has it)
    was written from another library, which is not this one at another place; or holds a person where sidecars are to
    come, or the other way round.
    """
    with files.only_one(target / LOCK, "an export"):
        try:
            ours = dict(_remembered(library))
            for folder, of in folders.items():
                whose = _known(folder)["library"]
                before = ours.get(str(folder.absolute()))
                if whose not in ("", str(library.absolute())) and before is None:
                    raise Failure(f"{folder} was written from the library {whose}; name another --out, or remove it")
                if before is not None and (before == "") != (of == "") and folder.is_dir():
                    what = "a person's pictures" if before else "sidecars"
                    raise Failure(f"{folder} holds {what} of an earlier export; name another --out, or remove it")
            yield
        finally:
            (target / LOCK).unlink(missing_ok=True)


def settle(library: Path, target: Path, called: Mapping[str, str]) -> tuple[dict[str, Path], list[str]]:
    """Let the folders in `target` follow the names of their facesets (faceset -> folder's name), with all that was done
    in them, and take away what is of no faceset any more.

    Each folder says itself whose it is, so after a kill the next run goes on. Returns where each faceset's folder is
    now, and lines.
    """
    places, said = {of: target / name for of, name in called.items()}, []
    here = _whose(library, target, places)
    moving = {of: place for of, place in here.items() if of in places and place != places[of]}
    for of in sorted(here.keys() - places.keys()):
        place = here[of]
        said.append(f"{terminal.safe(place)} is taken away, since {of} is no faceset any more")
        if place.name in called.values():       # somebody else's by now
            place = place.rename(_free(target / f"was {of}"))
        if not _emptied(place):
            said[-1] += f"; what you changed or put there is in {terminal.safe(place)}"
    for of, place in moving.items():        # aside first: two may have exchanged their names
        os.rename(place, target / MOVING.format(of))
    for of in moving:
        if os.path.lexists(places[of]):
            said.append(f"{terminal.safe(places[of])} is yours, so the folder of {of} is called otherwise")
            places[of] = _free(target / f"{called[of]} {of}")
        os.rename(target / MOVING.format(of), places[of])
    return places, said


def _free(place: Path) -> Path:
    return next(other for number in itertools.count(1)
                if not os.path.lexists(other := place.with_name(f"{place.name} {number}") if number > 1 else place))


def _whose(library: Path, target: Path, places: Mapping[str, Path]) -> dict[str, Path]:
    """Our folders in `target`, by the faceset that they are of. Of two, as where a person copied one, the one that is
    called so, or was being moved, or was written last; the others are theirs."""
    remembered, here = dict(_remembered(library)), dict[str, Path]()
    for place in sorted(target.iterdir()) if target.is_dir() else ():
        if os.path.isfile(place / LISTED):
            known, before = _known(place), remembered.get(str(place.absolute()))
            of = str(known.get("of", before or ""))
            if of and (before is not None or known["library"] == str(library.absolute())):
                ranks = [places.get(of), target / MOVING.format(of),
                         *(Path(folder) for folder, whose in remembered.items() if whose == of)]
                here[of] = min((here.get(of, place), place),
                               key=lambda one: ranks.index(one) if one in ranks else len(ranks))
    return here


def remember(library: Path, folders: Mapping[Path, str]) -> None:
    """Let the library know, before anything is written, what each of the `folders` is of; "" for anybody's sidecars."""
    before = _remembered(library)
    these = {str(folder.absolute()): of for folder, of in folders.items()}
    inside = {(Path(folder).parent, of) for folder, of in these.items() if of}
    now = [[folder, of] for folder, of in before if folder not in these and (Path(folder).parent, of) not in inside]
    files.write_json(library / REMEMBERED, {"schema": SCHEMA, "folders": now + [list(pair) for pair in these.items()]})
    for folder, of in folders.items():
        files.write_json(folder / LISTED, {**_known(folder), "library": str(library.absolute()), "of": of})


def _remembered(library: Path) -> list[list[str]]:
    """Folder and what it is of; not those of a library that this one is a copy of."""
    if not (library / REMEMBERED).exists():
        return []
    found = files.read_json(library / REMEMBERED, SCHEMA, "sort_faces.py export-training").get("folders")
    try:
        folders = [[str(folder), str(of)] for folder, of in found or ()]
    except (TypeError, ValueError):
        raise Failure(f"{library / REMEMBERED} is damaged; it says where exports wrote, remove it to go on") from None
    whose = {folder: _known(Path(folder))["library"] for folder, _ in folders}
    return [[folder, of] for folder, of in folders
            if whose[folder] in ("", str(library.absolute())) or not Path(whose[folder]).is_dir()]


def sidecars(library: Path, target: Path) -> list[Path]:
    """The folders in `target` into which sidecars were written."""
    return [Path(folder) for folder, of in _remembered(library)
            if of == "" and Path(folder).parent == target.absolute() and Path(folder).is_dir()]


def forget(library: Path, gone: Collection[str], dry_run: bool) -> list[str]:
    """Take away what was written of the facesets `gone`, by the last part of their folder, and all sidecars, since they
    may name her. Returns a line for each folder that is concerned, and one for all others."""
    said, rest = [], []
    for folder, of in _remembered(library):
        place = Path(folder)
        if of and Path(of).name not in gone:
            rest.append([folder, of])
        elif not place.is_dir():
            said.append(f"{folder} is not there now; if it was moved, remove it where it is")
        else:
            stays = "" if dry_run or _emptied(place) else "; what you changed or put there stays, look through it"
            said.append(f"{folder}: what {'is there of her' if of else 'sidecars are there, of anybody'}{stays}")
    if rest:
        said.append("what was exported of others stays; if she was among them then, as before a split, "
                    "export-training again renews it")
    if not dry_run:
        files.write_json(library / REMEMBERED, {"schema": SCHEMA, "folders": rest})
    return said


def _emptied(folder: Path) -> bool:
    """Remove what we wrote into `folder`, and the folder where nothing else is left in it; whether it is gone."""
    if (folder / LISTED).exists() or (folder / SCRATCH).exists():
        with updating(folder):
            pass
    (folder / LISTED).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def names(records: Sequence[Record]) -> dict[str, str]:
    """Folder of a faceset -> what to call it outside: its name where it has one that any system takes, each once.

    records     all of the library, so that a faceset is called the same whichever others are exported with it
    """
    said = {record.folder: clean(record.name) for record in records}
    lower = [name.casefold() for name in (*said, *said.values(), "train")]      # Frigate keeps that for itself
    return {folder: name if name and lower.count(name.casefold()) == 1 else f"{name} {folder}" if name else folder
            for folder, name in said.items()}


def stem(record: Record, facesets: Sequence[Record]) -> str:
    """How the files of a faceset begin that people carry to the tools: with the name, where that is clean and only one
    of the library's `facesets` has it, and the years of an era; else with the name of the folder."""
    folder, home, name = Path(record.folder).name, f"faceset_{record.number:03d}", clean(record.name)
    taken = {word for other in facesets if other.number != record.number
             for word in (other.folder, clean(other.name).casefold())}
    if name != unicodedata.normalize("NFC", record.name) or name.casefold() in taken:
        return folder
    return name + folder.removeprefix(home) if FILE.fullmatch(name) and folder.startswith(home) else folder


def clean(name: str, longest: int = LONGEST) -> str:
    """`name` as a file name for Linux, Windows and a Mac, "" where nothing of it is left; `longest` in bytes."""
    kept = "".join("_" if char in '<>:"/\\|?*' or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char
                   for char in unicodedata.normalize("NFC", name))
    kept = kept.encode("utf-8")[:longest].decode("utf-8", "ignore").strip(" .")
    return f"_{kept}" if RESERVED.fullmatch(kept) else kept

"""What a person did in the library's folders while a change was made, or since: none of it may be lost.

Words: a unit is what the journal swaps as a whole, a folder or a file.
"""

import os
from pathlib import Path

from ..common import files


def inodes(place: Path) -> dict[str, int]:
    """The files in a unit and below, relative to it, and what tells them from others that take their names.

    "" is a unit that is a file itself. Links are not followed.
    """
    if place.is_symlink() or not place.is_dir():
        return {"": os.lstat(place).st_ino} if os.path.lexists(place) else {}
    found: dict[str, int] = {}
    with os.scandir(place) as items:
        for item in items:
            if item.is_dir(follow_symlinks=False):
                found |= {f"{item.name}/{name}": inode for name, inode in inodes(Path(item)).items()}
            else:
                found[item.name] = item.stat(follow_symlinks=False).st_ino
    return found


def path_of(unit: str, name: str) -> str:
    """The path of a file that `inodes` gave of a unit."""
    return f"{unit}/{name}" if name else unit


def take(place: Path, before: dict[str, int], made: Path) -> None:
    """What changed in the unit `place` since its `inodes` were `before` goes to `made`, which takes its place."""
    mine = inodes(made)
    for name, inode in inodes(place).items():
        if inode != before.get(name):
            ours, target = name in mine and mine[name] != before.get(name), made / name
            files.link(place / name, target.with_name(f"{target.name}.kept1") if ours else target)


def keep(root: Path, old: Path, puts: dict[str, str], made: dict[str, str], aside: Path) -> list[str]:
    """Before a change is taken back: what a person did in its units goes to those that come back, or `aside`.

    puts: unit -> the one in `old` that it was made of; made: path -> SHA-256 of a file that the change made, "" for one
    that it left alone. Returns what lies aside, since the change had made or removed a file of that name.
    """
    kept = []
    left_alone: dict[str, list[str]] = {unit: [] for unit in puts}
    for path, digest in made.items():
        unit = next((unit for unit in (path, *map(str, Path(path).parents)) if unit in puts), "")
        if unit and not digest:
            left_alone[unit].append(path[len(unit) + 1:])
    for unit, origin in puts.items():
        place, before = root / unit, old / (origin or unit)
        found, were = inodes(place), inodes(before)
        for name, inode in sorted(found.items()):
            now, was, ours = place / name, before / name, made.get(path_of(unit, name))
            if inode == were.get(name) or (ours and now.is_file() and files.sha256_of(now) == ours):
                continue
            if ours or not os.path.lexists(before) or (ours is None and name in were):
                was = aside / unit / name
                kept.append(was.relative_to(root).as_posix())
            files.link(now, was)
        for name in set(left_alone[unit]) - set(found) if found else ():     # a person removed it
            (before / name).unlink(missing_ok=True)
    return kept

"""What a person did in the library's folders while a change was made, or since: none of it may be lost.

Words: a unit is what the journal swaps as a whole, a folder or a file; `names` are those of the files in one.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..common import files


def names(place: Path) -> Iterator[str]:
    """The files in a folder and below, relative to it; "" for the file `place` itself. Links are not followed."""
    if place.is_symlink() or place.is_file():
        yield ""
    for folder, folders, names in os.walk(place):
        for name in (*names, *(name for name in folders if os.path.islink(os.path.join(folder, name)))):
            yield os.path.relpath(os.path.join(folder, name), place)


def path_of(unit: str, name: str) -> str:
    """The path of a file that `names` gave of a unit."""
    return f"{unit}/{name}" if name else unit


def same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, or links to the same place."""
    try:
        first, second = os.lstat(one), os.lstat(other)
    except OSError:
        return False
    both_links = stat.S_ISLNK(first.st_mode) and stat.S_ISLNK(second.st_mode)
    return os.path.samestat(first, second) or (both_links and os.readlink(one) == os.readlink(other))


def inodes(place: Path) -> dict[str, int]:
    """What lies in a unit, so that one sees later what was added or saved anew."""
    return {name: os.lstat(place / name).st_ino for name in names(place)}


def take(place: Path, before: dict[str, int], made: Path) -> None:
    """What changed in the unit `place` since its `inodes` were `before` goes to `made`, which takes its place."""
    for name, inode in inodes(place).items():
        if inode != before.get(name):
            target = made / name
            ours = target.exists() and target.stat().st_ino != before.get(name)
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
        found = set(names(place))
        for name in sorted(found):
            now, was, ours = place / name, before / name, made.get(path_of(unit, name))
            if same(now, was) or (ours and now.is_file() and files.sha256_of(now) == ours):
                continue
            if ours or not os.path.lexists(before) or (ours is None and os.path.lexists(was)):
                was = aside / unit / name
                kept.append(was.relative_to(root).as_posix())
            files.link(now, was)
        for name in set(left_alone[unit]) - found if found else ():     # a person removed it
            (before / name).unlink(missing_ok=True)
    return kept

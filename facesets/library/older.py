"""A library of schema 1, brought up once: there NAME.txt held the proposal as long as nobody had given a name.

Such a file is one that we wrote (its bytes are those that the folder's manifest remembers) when no name had been given
(that manifest has none). A file that a person wrote, or that `name` and `import-folders` wrote for them, stays.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ..common import files
from ..common.errors import Failure
from . import folder as folders
from . import journal

SCHEMA = 1
HEAD = re.compile(rb'\s*\{\s*"schema":\s*1\s*,')      # the schema is written first


def is_older(root: Path) -> bool:
    try:
        with open(root / journal.MANIFEST, "rb") as file:
            return bool(HEAD.match(file.read(80)))
    except OSError:
        return False


def bring_up(root: Path, lists: Sequence[str], schema: int) -> None:
    """Take away the proposals that lie in NAME.txt; the new schema is written last, so a kill only repeats it."""
    if is_older(root):
        value = files.read_json(root / journal.MANIFEST, SCHEMA)
        for item in (item for name in lists for item in value.get(name, [])):
            if isinstance(item, dict) and folders.FOLDER.fullmatch(str(item.get("folder"))):
                _settle_name(root / item["folder"])
        files.write_json(root / journal.MANIFEST, {**value, "schema": schema})


def _settle_name(place: Path) -> None:
    try:
        record = files.read_json(place / folders.MANIFEST)
        ours = record.get("files", {}).get(folders.NAME) == files.sha256_of(place / folders.NAME)
    except (Failure, OSError, AttributeError):
        return      # no such folder or file any more, or none of ours
    if ours and not record.get("name"):
        (place / folders.NAME).unlink()

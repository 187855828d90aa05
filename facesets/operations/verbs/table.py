"""The table of the verbs: beside each function that carries one out stand its arguments, its settings, an example.

    @verb("Corrections", FACESET, argument("new_name", metavar="NAME"), example='7 "Aunt Ilse"')
    def name(job: Job) -> int:
        \"""Give a faceset its name; it survives everything.\"""     # the manual; its first line is in the list of all

is `sort_faces.py name FACESET NAME`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...common.errors import UsageError
from .job import Job

Act = Callable[[Job], int]
Argument = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Verb:
    act: Act
    group: str                      # where the list of all verbs has it
    arguments: Sequence[Argument]
    example: str                    # of its arguments
    settings: Sequence[str]         # the sections of config.py whose flags it takes
    alone: bool                     # takes faces out of the caches, so nobody is forgotten meanwhile
    looks: bool                     # changes nothing, so that a dry run would be the same


VERBS: dict[str, Verb] = {}


def verb(group: str, *arguments: Argument, example: str = "", settings: Sequence[str] = (), alone: bool = False,
         looks: bool = False) -> Callable[[Act], Act]:
    """Enter a function into the table, under its own name."""
    def enter(act: Act) -> Act:
        VERBS[act.__name__.replace("_", "-")] = Verb(act, group, arguments, example, settings, alone, looks)
        return act
    return enter


def argument(name: str, **options: Any) -> Argument:
    """What `argparse.add_argument` takes."""
    return name, options


def _folder(text: str) -> Path:
    if not text:        # of a variable that is not set; it would be the folder that one stands in
        raise UsageError("--out is empty; name a folder")
    return Path(text)


EMBEDDING, CLUSTERING, EXPORTING, SHELF = "Embedding", "Clustering", "Exporting", "Shelf"
FACESET = argument("faceset", metavar="FACESET")
FACESETS = argument("facesets", metavar="FACESET", nargs="*")
PICTURES = argument("photos", metavar="PHOTO", nargs="+", help="a picture (0003.png), a path, a SHA-256 or a face key")
CACHE = argument("--cache", type=Path, action="append", metavar="PATH",
                 help="a cache to use, may be given several times (default: all in work/cache)")
INTO = argument("--into", type=Path, metavar="CACHE",
                help="the cache to go on with (default work/cache/nl_full.npz)")
OUT = argument("--out", type=_folder, required=True, metavar="DIR",
               help="one folder for each person or user is made below it")

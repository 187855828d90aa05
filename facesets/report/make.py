"""The report: gather, make the contact sheets, write `index.html` into the library.

Everything that comes from a server, a file name or a person goes into the page through Jinja's autoescape or as JSON
that the page's script turns into text nodes. The page's own script and style are allowed by their SHA-256; nothing
else may run, and nothing may be fetched but pictures beside the page.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from ..common import files
from ..common.errors import Failure, Paused
from ..library.store import Library
from . import runs, sections, sheets

PAGE = "index.html"
TEMPLATES = Path(__file__).parent / "page"
SCRIPTS = ("make.js", "cards.js", "dialogs.js", "page.js")      # one script, in this order
LOCK = ".lock"
ATTEMPTS = 3


@dataclass(frozen=True)
class Made:
    path: Path
    facesets: int
    pictures: int
    to_check: int
    problems: list[str]

    def as_json(self) -> dict[str, object]:
        return {"report": str(self.path), "facesets": self.facesets, "pictures": self.pictures,
                "to_check": self.to_check, "problems": self.problems}

    def lines(self) -> list[str]:
        """What was made, as a person reads it."""
        return [*(f"not shown: {line}" for line in self.problems),
                f"{self.facesets:,} facesets, {self.pictures:,} pictures, {self.to_check:,} facesets to check: "
                f"{self.path}"]


def render(context: dict[str, object]) -> str:
    """The page as text."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return environment.get_template("page.html").render(
        **context, css=Markup(css), js=Markup(script), policy=policy([script], [css]))


def make(root: Path, data_root: Path, alike: float, workers: int = 2,
         render: Callable[[dict[str, object]], str] = render) -> Made:
    """Write the report of the library at `root`. `alike`: cos-dist beyond known_distance that is worth a look.

    The page is written only if the library is still the one that it shows: nobody who was forgotten meanwhile may come
    back in it. Raises Paused where the library goes on changing, or somebody is at work on it.
    """
    if not root.is_dir() and not runs.labels(data_root):
        raise Failure(f"{root} does not exist: there is no faceset yet; `sort_faces.py status` says what to run")
    library = Library(files.private_folder(root))
    try:
        with files.only_one(root / sheets.FOLDER / LOCK, "sort_faces.py report"):
            for _ in range(ATTEMPTS):
                gathered = sections.gather(library, data_root, alike)
                if _written(library, gathered, workers, render):
                    break
            else:
                sheets.clear(root, set())
                raise Paused(f"{root} goes on changing; when the others are done, run the same command again")
    except OSError as error:
        raise Paused(f"{error.filename or root}: {error.strerror or error}; mend that, then run the same command again"
                     ) from None
    sets = gathered.sets
    return Made(root / PAGE, len(sets), sum(len(item.faces) for item in sets), len(gathered.touched),
                gathered.unreadable)


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """The Content-Security-Policy: our script and style by hash, pictures beside the page or in it, nothing else."""
    return (f"default-src 'none'; img-src 'self' file: data:; script-src {_hashes(scripts)}; "
            f"style-src {_hashes(styles)}; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
            "trusted-types 'none'")


def _written(library: Library, gathered: sections.Gathered, workers: int,
             render: Callable[[dict[str, object]], str]) -> bool:
    """Make the pictures and write the page; False, and no page, where the library is another by then."""
    sheets.make(library.root, gathered.all_sheets(), workers)
    text = render(sections.context(gathered))
    with library.locked("sort_faces.py report"):
        same = library.manifest() == gathered.manifest
        if same:
            files.write_bytes(library.root / PAGE, text.encode("utf-8", "replace"))
            sheets.clear(library.root, {sheet.file for _, sheet in gathered.all_sheets()})
    return same


def _hashes(texts: Sequence[str]) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)

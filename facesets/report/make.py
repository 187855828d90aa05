"""The report: gather, make the contact sheets, write `index.html` into the library.

Everything that comes from a server, a file name or a person goes into the page through Jinja's autoescape or as JSON
that the page's script turns into text nodes. The page's own script and style are allowed by their SHA-256; nothing
else may run, and nothing may be fetched but pictures beside the page.
"""

import base64
import hashlib
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
# Our script and style by their hashes, pictures beside the page or in it, nothing else.
POLICY = ("default-src 'none'; img-src 'self' file: data:; script-src {script}; style-src {style}; base-uri 'none'; "
          "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'")


@dataclass(frozen=True)
class Made:
    report: str         # the page
    facesets: int
    pictures: int
    to_check: int
    problems: list[str]

    def lines(self) -> list[str]:
        """What was made, as a person reads it."""
        return [*(f"not shown: {line}" for line in self.problems),
                f"{self.facesets:,} facesets, {self.pictures:,} pictures, {self.to_check:,} facesets to check: "
                f"{self.report}"]


def render(context: dict[str, object]) -> str:
    """The page as text."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["n"] = "{:,}".format
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return environment.get_template("page.html").render(
        **context, css=Markup(css), js=Markup(script), policy=POLICY.format(script=_hash(script), style=_hash(css)))


def make(root: Path, data_root: Path, alike: float, folders: str = "") -> Made:
    """Write the report of the library at `root`. `alike`: cos-dist beyond known_distance that is worth a look.
    `folders`: the flags that the commands in it need.

    The library is held meanwhile, so that nobody who is forgotten comes back in the page. Raises Paused where somebody
    else is at work on it.
    """
    if not root.is_dir() and not runs.users(data_root):       # who is there by a backup is shown before any faceset
        raise Failure(f"{root} does not exist: there is no faceset yet; `sort_faces.py status` says what to run")
    library = Library(files.private_folder(root))
    try:
        with library.locked("sort_faces.py report"):
            gathered = sections.gather(library, data_root, alike)
            sheets.make(root, gathered.all_sheets())
            files.write_bytes(root / PAGE, render(sections.context(gathered, folders)).encode("utf-8", "replace"))
            sheets.clear(root, {sheet.file for _, sheet in gathered.all_sheets()})
    except OSError as error:
        raise Paused(f"{error.filename or root}: {error.strerror or error}; mend that, then run the same command again"
                     ) from None
    sets = gathered.sets
    return Made(str(root / PAGE), len(sets), sum(len(item.faces) for item in sets), len(gathered.touched),
                gathered.unreadable)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

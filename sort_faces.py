"""Work on facesets: make, grow, correct, name and look after them.

A FACESET is a folder (faceset_007), a number (7) or a name. What changes facesets happens all or not at all, and `undo`
takes it back, but for `forget`. `sort_faces.py VERB --help` tells more of each.

Reads and writes work/cache/*.npz, work/refine.json, work/immich/*/refine.json, facesets_swap_ready/

Exit    0 done · 1 failed · 2 somebody else is at work or the disk is full, run it again · 64 usage · 78 settings
"""

import argparse
import contextlib
import inspect
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import config
from facesets.common import terminal
from facesets.common.errors import AlreadyDone, UsageError
from facesets.operations.verbs import VERBS, Job
from facesets.review import verb as _review  # its verb joins the table  # noqa: F401

GROUPS = ("Faces", "Facesets", "Corrections", "For others", "Looking")


def manual() -> str:
    """The docstring, and what every verb does in the first line of its own."""
    lines = [line for group in GROUPS for line in ("", group, *(
        f"  {name:<16} {(verb.act.__doc__ or '').splitlines()[0]}" for name, verb in VERBS.items()
        if verb.group == group))]
    return "\n".join([inspect.cleandoc(__doc__), *lines])


class Completion(argparse.Action):
    """Print what makes `faces` this script, in a shell that completes its verbs and flags."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option: str | None = None) -> None:
        import shtab
        parser.prog = "faces"
        terminal.answer(f"alias faces={shlex.quote(shlex.join([sys.executable, str(Path(__file__).absolute())]))}\n"
                        + shtab.complete(parser, values))
        parser.exit()


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = terminal.Parser(manual(), prog="sort_faces.py", usage="sort_faces.py VERB ...")
    parser.add_argument("--completion", action=Completion, choices=("bash", "zsh"),
                        help="for ~/.bashrc or ~/.zshrc: source <(python sort_faces.py --completion bash)")
    hidden = None if "--completion" in argv else argparse.SUPPRESS      # the manual lists the verbs in groups
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, help=hidden)
    for name, verb in VERBS.items():
        prog = f"sort_faces.py {name}"
        told = inspect.getdoc(verb.act) or ""
        one = verbs.add_parser(name, help=told.splitlines()[0], prog=prog,
                               manual=f"{told}\n\nExample  python {prog} {verb.example}")
        for flag, options in verb.arguments:
            one.add_argument(flag, **options)
        if not verb.looks:
            one.add_argument("--dry-run", action="store_true", help="only say what would be done")
        one.add_argument("--json", action="store_true", help="print the result as one JSON value on stdout")
        config.add_flags(one, config.Paths, only=("data_root", "library"))
        for section in verb.settings:
            config.add_flags(one, getattr(config, section))
    if argv and argv[0] not in VERBS and not argv[0].startswith("-"):
        raise UsageError(f"there is no verb {argv[0]!r}{terminal.did_you_mean(argv[0], VERBS)}; `sort_faces.py --help` "
                         "lists them")
    return parser.parse_args(argv)


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(sys.argv[1:] if argv is None else argv)
    terminal.stop_on_terminate()
    job = Job(args, lambda section: config.load(getattr(config, section), args),
              lambda: config.api_key(config.load(config.Server, args), name="IMMICH_WRITE_API_KEY"),
              config.elsewhere(args))
    verb = VERBS[args.verb]
    try:
        with job.alone() if verb.alone else contextlib.nullcontext():
            return verb.act(job)
    except AlreadyDone as done:
        status = job.tell({"done": str(done)}, [str(done)])
        job.library.close()
        return status


if __name__ == "__main__":
    sys.exit(main())

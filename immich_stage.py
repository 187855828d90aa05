"""Stage one Immich user's photos: every image asset that shows a face big enough to use, exactly once.

Reads   the Immich server, other users' state.db and every cache in work/cache (what is known is not downloaded, but
        for what is known only to another model than this user's cache was made with);
        the backup, if one is given, and the facesets, to tell who is on the photos;
        work/immich/users.json, if there is one: {"peter": "<his Immich user id>"} lets no other key stage as peter
Writes  work/immich/<user>/state.db, queue.json, summary.json (of the last run) and photos/ (or STAGE_DIR/<user>/photos)
Run     export IMMICH_URL=https://photos.example.org
        export IMMICH_API_KEY=...       that user's own key
        python immich_stage.py --user peter --workers 8

With --backup, a backup of Immich's database (it makes one every night) tells who is on the photos before the first is
fetched: a table says so, and of each person only the best --pictures are fetched; the rest is "not needed yet", and a
later run with more --pictures fetches more. With --dry-run it stops at the table, and what an earlier run chose and
left stays. `--backup server` takes the newest from the server, with the key of an administrator in
IMMICH_ADMIN_API_KEY (or IMMICH_ADMIN_API_KEY_FILE).

The key may lie in a file of mode 0600 instead: IMMICH_API_KEY_FILE. For Immich 3.x a login (IMMICH_EMAIL and
IMMICH_PASSWORD, or IMMICH_LOGIN_FILE of mode 0600 with these two lines) instead of a key gives all face boxes in one
request. Neither is ever a flag. If the server goes away, everything is saved, and the same command goes on. Ctrl-C and
SIGTERM do the same.

Exit    0 done · 1 failed · 2 paused, run the same command again · 64 usage · 77 key refused · 78 settings
"""

import argparse
import contextlib
import json
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import config
from facesets.common import files, paths, terminal
from facesets.common.errors import OK, Failure, Paused
from facesets.embed import packs
from facesets.formats import cache, distances, proposal
from facesets.formats import summary as summaries
from facesets.formats.queue import Queue
from facesets.immich import backup, preflight
from facesets.immich.breaker import Breaker
from facesets.immich.client import KEY, Client
from facesets.library.store import Library
from facesets.stage import choice, summary
from facesets.stage.run import Options, Stage
from facesets.stage.state import State

FEW = 20    # photos of each person; with 10 every tenth of the best 8 is missing (benchmarks/backup.py --real)


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    where, server = config.load(config.Paths, args), config.load(config.Server, args)
    staging = config.load(config.Staging, args)
    terminal.stop_on_terminate()
    user_dir = where.user_dir(args.user)
    with files.only_one(user_dir / "stage.lock", f"immich_stage.py --user {args.user}"):
        terminal.keep_log(user_dir / "stage.log", f"immich_stage.py --user {args.user}")
        state = State(user_dir / "state.db")
        try:
            with connected(server, staging, args) as client:
                return stage_user(client, state, options_of(args, where, staging), args, command(argv))
        except Paused as error:
            raise Paused(f"{error}; everything is saved, to go on: {command(argv)}") from None
        finally:
            state.close()


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = terminal.Parser(__doc__, prog="immich_stage.py")
    parser.add_argument("--user", type=terminal.user_label, required=True, metavar="LABEL",
                        help="your label for whose library it is")
    parser.add_argument("--dry-run", action="store_true", help="list and judge every asset, download nothing")
    parser.add_argument("--backup", metavar="FILE|server", help="a backup of Immich's database: fetch only the photos "
                        "that are worth it, by who is on them")
    parser.add_argument("--json", action="store_true", help="print the summary to stdout as one JSON object")
    parser.add_argument("--retry-rejected", action="store_true", help="ask again for assets that were given up")
    parser.add_argument("--rebind", action="store_true",
                        help="give the label to the user of this key, after a first run with a wrong one; what was "
                        "embedded of the other library stays in work/cache until you remove it")
    parser.add_argument("--prune", action="store_true", help="remove the staged photos of assets that the server no "
                        "longer has (not the faces that were found in them)")
    parser.add_argument("--wait-for-server", default="0", metavar="TIME", type=duration,
                        help="wait so long (90s, 30m, 2h) for a server that is away, instead of exiting (default 0)")
    config.add_flags(parser, config.Paths, only=("data_root", "library", "stage_dir"))
    config.add_flags(parser, config.Server, config.Staging)
    config.add_flags(parser, config.Windows, only=("windows_shares",))
    args = parser.parse_args(argv)
    if args.backup is not None and not args.backup.strip():
        parser.error("--backup is empty: name the backup's file, or `server`")
    if args.pictures is not None and not args.backup:
        parser.error("--pictures chooses by a backup, without which every photo is fetched; give --backup, too")
    return args


def duration(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smh]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{terminal.safe(text)!r} is no time such as 90s, 30m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def options_of(args: argparse.Namespace, where: config.Paths, staging: config.Staging) -> Options:
    own = where.user_dir(args.user) / "state.db"
    faces = where.cache(args.user)

    def serves(path: Path) -> bool:
        """Faces of another recogniser are of no use to this user: to a photo's own they cannot be compared."""
        return path != faces and not (faces.exists() and path.exists()
                                      and cache.model_of(path).sha256 != cache.model_of(faces).sha256)
    shares = paths.parse_shares(config.load(config.Windows, args).windows_shares)
    return Options(
        user=args.user, photos=where.photos(args.user), queue=where.queue(args.user),
        databases=tuple(sorted(path for path in own.parent.parent.glob("*/state.db")
                               if path != own and serves(where.cache(path.parent.name)))),
        caches=tuple(sorted(filter(serves, where.caches.glob("*.npz")))),
        to_windows=partial(paths.wsl_to_win, shares=shares), workers=staging.workers, min_face_px=staging.min_face_px,
        exclude=staging.exclude, retry_rejected=args.retry_rejected, list_only=args.dry_run, prune=args.prune)


@contextlib.contextmanager
def connected(server: config.Server, staging: config.Staging, args: argparse.Namespace) -> Iterator[Client]:
    """A client with a key, or with a login, which is closed in the end."""
    anonymous = ("X-Client", "face-sets")
    access = preflight.access(server, anonymous)
    login, stop = config.login(server), threading.Event()

    def client(header: tuple[str, str]) -> Client:
        breaker = Breaker(staging.workers, args.wait_for_server, server.retry_pause, terminal.say)
        return Client(replace(access, header=header), breaker, stop)
    if not login:
        yield client((KEY, config.api_key(server)))
        return
    made = client(("Authorization", f"Bearer {preflight.login(client(anonymous), *login)}"))
    try:
        yield made
    except BaseException:
        stop.set()
        raise
    finally:
        preflight.logout(made)


def stage_user(client: Client, state: State, options: Options, args: argparse.Namespace, again: str) -> int:
    """Run the stage, and hand over and sum up what is there, however it ended."""
    started, written = time.monotonic(), options.queue.with_name("summary.json")
    last = summary.last(written)
    if args.wait_for_server:
        client.breaker.probe = partial(client.probe, "/server/ping")
    server = preflight.check(client)
    terminal.say(f"{client.access.url} is {server}; as {options.user}, reading the library of "
                 f"{terminal.safe(server.name, 80)} ({terminal.safe(server.email, 80)}); {server.key}; faces by "
                 f"{server.faces_by}{summary.last_time(last, server.faces_by)}")
    preflight.is_user(server, options.user, options.queue.parent.parent / "users.json",
                      "" if args.rebind else state.meta("owner"))
    client.breaker.probe = partial(client.probe, "/users/me")
    whole = again.replace(" --dry-run", "")
    if args.dry_run and state.meta("owner"):
        state.detach()
    keeps = args.dry_run and last.get("who_is_there") and not last.get("dry_run", True)     # for the report
    former = state.meta("again")
    if args.backup or not args.dry_run:
        state.set_meta("again", whole if args.backup else "")       # without it the rest would be fetched, too
    try:
        chosen = choosing(client, server.owner, args) if args.backup else None
    except Failure as error:
        if not isinstance(error, Paused):       # its name may be misspelt
            state.set_meta("again", former)
        raise
    stage = Stage(client, state, server, replace(options, choosing=chosen))
    ended: BaseException | None = None
    before = state.run
    try:
        stage.run()
    except (Failure, KeyboardInterrupt) as error:
        ended = error
    listed = state.run > before and state.meta("listed") == str(state.run)     # else all stays as it was
    if listed and not options.list_only and not (isinstance(ended, KeyboardInterrupt) and summary.is_long(state)):
        queue = Queue(options.user, client.access.url, owner=server.owner)
        summary.write_queue(state, options.queue, queue, options.photos, options.to_windows)
    if listed:
        values = summary.figures(stage, time.monotonic() - started)
        if not keeps:
            files.write_json(written, {
                "schema": summaries.SCHEMA, **values, "complete": ended is None, "dry_run": options.list_only})
        for line in summary.lines(values, state, client.access.url, args.prune):
            terminal.say(terminal.safe(line))
        if args.json:
            terminal.answer(json.dumps(values))
    if isinstance(ended, KeyboardInterrupt):
        raise Paused("stopped")
    if ended:
        raise ended
    if stage.gate and not stage.gate.held:
        raise Paused("the server counts other photos than it lists, as named above, so some may be missing; let Immich "
                     "end its jobs (Administration, Jobs: above all Extract Metadata)")
    if stage.chosen and not keeps:
        terminal.say(f"to see who is there: {typed(['python', 'sort_faces.py', 'report'], args)}")
    then = ["bash", "finalize_immich.sh", args.user] if values["staged_count"] else \
        ["python", "sort_faces.py", "status"]
    nothing_yet = not values["staged_count"] and state.counts().get("error", 0)
    terminal.say(f"next: {whole if args.dry_run or nothing_yet else typed(then, args)}")
    return OK


def choosing(client: Client, owner: str, args: argparse.Namespace) -> choice.Choosing:
    """What the backup says, and who is who in it: by the library too, if it was made with the backup's recogniser."""
    from facesets.cluster import identities, rules  # heavy, and few runs have a backup
    settings, pictures = config.load(config.Clustering), config.load(config.Staging, args).pictures
    if 0 < pictures < FEW:
        lacking = "nobody new has enough for a faceset" if pictures < settings.min_faces else \
            f"facesets go without some of their best faces, which they hardly do with {FEW}"
        terminal.say(f"with --pictures {pictures} {lacking}; docs/backup.md has the figures")
    if args.backup == "server":
        key = config.api_key(config.load(config.Server, args), name="IMMICH_ADMIN_API_KEY")
        access = replace(client.access, header=(KEY, key))
        read = backup.of_server(Client(access, client.breaker, client.stop), owner)
    else:
        read = backup.of_file(Path(args.backup), owner)
    sha256 = packs.recogniser_sha256(read.recogniser) if read.recogniser in packs.KNOWN else ""
    model = cache.Model(read.recogniser, sha256, "", backup.D, *distances.of(sha256))
    library = Library(config.load(config.Paths, args).library)
    theirs = library.manifest().model or {}
    known = library.identities(model) if theirs.get("sha256", sha256) == sha256 else []
    if theirs and theirs.get("sha256") != sha256:
        terminal.say(f"the backup's faces are of {read.recogniser}, the facesets of "
                     f"{terminal.safe(theirs.get('name'))}, so whom you have is not told: everybody is as if new")
    alike = config.load(config.Exporting).duplicate_similarity

    def group(faces: cache.Cache) -> proposal.Proposal:
        [faces] = identities.with_distances([faces])
        return identities.propose([faces], known, rules.Rules.of(settings, faces.model, alike), run="",
                                  made_by="immich_stage.py", created="")
    return choice.Choosing(read, model, group, {one.folder: one.name for one in known}, pictures)


def typed(step: Sequence[str], args: argparse.Namespace) -> str:
    """A command to type after this one, with the folders of this one."""
    return shlex.join(step) + config.elsewhere(args, *(["stage_dir"] if step[0] == "bash" else []))


def command(argv: Sequence[str] | None) -> str:
    """What the operator typed, to be typed again."""
    return shlex.join(["python", Path(sys.argv[0]).name if argv is None else "immich_stage.py",
                       *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())

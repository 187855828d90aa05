"""The verb that writes to Immich, and what `undo` needs to take it back there."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...common import terminal
from ...common.errors import FAILED
from ...formats.queue import Queue
from ...formats.queue import read as read_queue
from .job import Job
from .table import CACHE, CLUSTERING, argument, verb


@verb("For others", argument("--user", type=terminal.user_label, required=True, metavar="LABEL", help="whose Immich"),
      argument("--albums", action="store_true", help="also an album for each faceset with a name"),
      argument("--apply", action="store_true", help="write to Immich; without it the table is only printed"),
      CACHE, settings=["Server"], alone=True, looks=True, example="--user peter")
def immich_names(job: Job) -> int:
    """Give the names of facesets to people in Immich whom nobody named there. Nothing is sent without --apply.

    A name that is there stays; nothing is merged or deleted; `undo` takes back what was given. Run it again after face
    recognition was reset in Immich and the stage has run: the new people get the names. --albums keeps an album for
    each faceset with a name. It takes a key of its own, IMMICH_WRITE_API_KEY, with person.read and person.update; for
    albums also with album.read, album.create, album.delete, albumAsset.create and albumAsset.delete.
    """
    from .. import immich_names as names
    user, rules = job.args.user, job.settings(CLUSTERING)
    queue = read_queue(job.paths.queue(user))
    if not queue.owner:
        terminal.say(f"the queue of {user} is of an earlier version, which told fewer faces: first python "
                     f"immich_stage.py --user {user}")
    distance = rules.known_distance or job.library.manifest().known_distance
    caches, writer = job.caches(), _writer(job, queue, job.args.albums)

    def plan() -> names.Plan:
        found = names.counted(job.library, caches, queue, distance, rules.known_margin)
        return names.Plan(names.propose(job.library.manifest(), found, writer),
                          names.albums(job.library, user, queue) if job.args.albums else [])

    def tell(made: names.Plan) -> int:
        lines = [*(row.line(writer.url) for row in made.rows), *(album.line() for album in made.albums)]
        status = job.answer(asdict(made), [*lines, *made.failed, made.summary(user, job.args.apply)])
        return FAILED if made.failed else status
    return names.apply(job.library, user, plan, writer, tell) if job.args.apply else tell(plan())


def taken_back(job: Job, journal: Path) -> list[str]:
    """Take back in Immich what the run in `journal` wrote there; what stays there."""
    if journal.name.partition("-")[2] != "immich-names":
        return []
    if job.args.without_immich:
        return ["what it wrote to Immich stays there, and nothing here knows of it any more"]
    from .. import immich_names as names
    terminal.say("the last run wrote to Immich, and is taken back there first; where that server or account is gone "
                 "for good: undo --without-immich")
    return names.take_back(job.paths.library, journal, lambda user, albums: _writer(
        job, read_queue(job.paths.queue(user)), albums))


def _writer(job: Job, queue: Queue, with_albums: bool) -> Any:
    from ...immich import preflight, writing
    from ...immich.client import Access
    server = job.settings("Server")
    access = Access(preflight.base_url(server.immich_url), ("x-api-key", job.write_key()),
                    preflight.authority(server.ca_file), server.connect_timeout, server.read_timeout,
                    server.retry_pause, may_write=True)
    return writing.opened(access, queue, (*writing.NAMES, *(writing.ALBUMS if with_albums else ())))

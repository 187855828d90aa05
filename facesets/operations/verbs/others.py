"""Verbs that leave the facesets as they are: files for other programs, names for Immich, and those that only look."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...common import terminal
from ...common.errors import FAILED
from ...formats.queue import Queue
from ...formats.queue import read as read_queue
from .job import Job
from .table import CACHE, CLUSTERING, FACESETS, OUT, argument, verb


@verb("For others", FACESETS,
      argument("--for", dest="purpose", required=True, metavar="PROGRAM",
               choices=("kohya", "onetrainer", "ai-toolkit", "frigate", "folders"),
               help="kohya, onetrainer, ai-toolkit, frigate or folders"),
      OUT, argument("--caption", metavar="TEXT", help="of {trigger}, {class}, {framing} and {year}"),
      argument("--class", dest="kind", default="person", metavar="WORD", help="person, woman, child, ..."), CACHE,
      looks=True, alone=True, example="Anna --for kohya --out ~/training")
def export_training(job: Job) -> int:
    """Write pictures for trainers, Frigate and others, into folders of yours.

    Training folders have three framings, captions and loss masks; frigate and folders a person's best pictures.

    What lies below --out from an earlier export is renewed, under an earlier name too; what you changed or added there
    stays."""
    from ...export.training import CAPTION, CONFIGURATIONS
    from ...library.members import Index
    from .. import outward
    boxes = Index(job.caches()).boxes if job.args.purpose in CONFIGURATIONS else lambda sha256: ()
    said = outward.export(job.library, job.args.facesets, job.outside, job.args.purpose, boxes,
                          job.args.caption or CAPTION, job.args.kind)
    return job.answer(said, said)


@verb("For others", OUT, looks=True, alone=True, example="--out ~/sidecars")
def export_regions(job: Job) -> int:
    """Write who is where as XMP sidecars, for digiKam and Lightroom.

    One for each photo that shows somebody with a name; lay them beside the photos."""
    from ...export import regions
    said = regions.export(job.library, job.outside, {queue.user: queue.called for queue in job.queues()})
    return job.answer(said, said)


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
    from ...immich.client import KEY
    server = job.settings("Server")
    access = preflight.access(server, (KEY, job.write_key()), may_write=True)
    return writing.opened(access, queue, (*writing.NAMES, *(writing.ALBUMS if with_albums else ())))


@verb("Looking", looks=True)
def status(job: Job) -> int:
    """One screen: every user, every stage, what is left, what to run next."""
    from .. import status as screen
    found = screen.status(job.paths.data_root, job.library, job.folders)
    return job.answer(asdict(found), screen.text(found))


@verb("Looking", argument("photo", metavar="PHOTO"), CACHE, looks=True, example="/mnt/d/photos/IMG_2041.jpg")
def why(job: Job) -> int:
    """Tell what became of every face of a photo."""
    from .. import why as reasons
    found = reasons.why(job.library, job.args.photo, job.sources, job.proposals())
    return job.answer(found, reasons.text(found))


@verb("Looking", settings=["Reporting"], looks=True)
def report(job: Job) -> int:
    """Write index.html into the library: who is there, what to check, what the runs did; opens without a network."""
    from ...report import make
    made = make.make(job.paths.library, job.paths.data_root, job.settings("Reporting").report_alike,
                     job.folders)
    return job.tell(vars(made), made.lines())

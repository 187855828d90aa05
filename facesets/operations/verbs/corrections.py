"""Verbs of what a person says: names, wrong faces, splits, drops; and what takes back or forgets."""

from dataclasses import asdict
from pathlib import Path

from ...common import terminal
from ...common.errors import FAILED, OK, Failure
from ...formats import cache
from .facesets import KEEPING
from .job import Job
from .others import taken_back
from .table import CACHE, FACESET, PICTURES, argument, verb

SEVERAL = argument("facesets", metavar="FACESET", nargs="+")


@verb("Corrections", FACESET, argument("new_name", metavar="NAME"), example='7 "Aunt Ilse"')
def name(job: Job) -> int:
    """Give a faceset its name; it survives everything."""
    from .. import edit
    return job.change(lambda run: edit.name(run, job.args.faceset, job.args.new_name))


@verb("Corrections", FACESET,
      argument("photos", metavar="FACE", nargs="+", help="a face key, or a photo with one face"), CACHE,
      settings=KEEPING, alone=True, example="Anna /mnt/d/photos/IMG_2041.jpg")
def this_is(job: Job) -> int:
    """Say that faces of the caches are the person of a faceset, whatever clustering thought of them.

    A face is named by its key, as `why` prints it, or by its photo where that shows one face only.
    """
    from ...library.members import Index
    from .. import edit
    index = Index(job.caches())
    return job.change(lambda run: edit.this_is(run, job.args.faceset, job.args.photos, index, job.options()))


@verb("Corrections", FACESET, PICTURES, settings=KEEPING, example="7 0003.png 0011.png")
def not_this(job: Job) -> int:
    """Say that faces are not the person of a faceset; no later run puts them back.

    Its faces without a picture go along where they are nearer to these than to the ones that stay.
    """
    from .. import edit
    return job.change(lambda run: edit.not_this(run, job.args.faceset, job.args.photos, job.options()))


@verb("Corrections", FACESET, PICTURES, settings=KEEPING, example="7 0003.png 0011.png")
def split(job: Job) -> int:
    """Make a faceset of its own of some faces of a faceset: they are somebody else, and always the same one.

    Its faces without a picture go along where they are nearer to these than to the ones that stay.
    """
    from .. import edit
    return job.change(lambda run: edit.split(run, job.args.faceset, job.args.photos, job.options()))


@verb("Corrections",
      argument("groups", metavar="THIN", nargs="+", help="a folder of _thin/, or a face key of a thin group"), CACHE,
      settings=KEEPING, alone=True, example="_thin/thin_0a1b2c3d4e5f")
def promote(job: Job) -> int:
    """Make a faceset of a group that was too thin for one."""
    from ...library.members import Index
    from .. import edit
    index, made = Index(job.caches()), list(job.proposals().values())
    return job.change(*(lambda run, text=text: edit.promote_thin(run, text, made, index, job.options())
                        for text in job.args.groups))


@verb("Corrections", FACESET, argument("other", metavar="FACESET"), example="7 31")
def two_people(job: Job) -> int:
    """Say that two facesets that look alike are two people: nothing merges them, nobody asks again."""
    from .. import edit
    return job.change(lambda run: edit.two_people(run, job.args.faceset, job.args.other))


@verb("Corrections", SEVERAL, example="7 12")
def reviewed(job: Job) -> int:
    """Say that facesets are right as they are; only what comes to them later is asked again."""
    from .. import edit
    return job.change(*(lambda run, text=text: edit.reviewed(run, text) for text in job.args.facesets))


@verb("Corrections", SEVERAL, example="12 13")
def drop(job: Job) -> int:
    """Move facesets to _dropped/; their faces do not come back as new ones."""
    from .. import edit
    return job.change(*(lambda run, text=text: edit.drop(run, text) for text in job.args.facesets))


@verb("Corrections",
      argument("file", type=Path, metavar="FILE", help="decisions.json, as the report page saved it"),
      settings=KEEPING, example="~/Downloads/decisions.json")
def apply(job: Job) -> int:
    """Carry out, once more, a decisions.json that an earlier version's report saved. Now `review` does it at once."""
    from .. import decided
    library, found = decided.read(job.args.file)
    if library != job.library.id:
        raise Failure(f"{job.args.file} was made for another library than {job.paths.library}; give its --library")
    status = job.change(lambda run: decided.carry_out(run, found, job.options()))
    terminal.say("reports save no decisions any more; each is carried out at once by: "
                 f"python sort_faces.py review{job.folders}")
    return status


@verb("Corrections", argument("--without-immich", action="store_true", help="leave in Immich what the run wrote there, "
                              "where that server or account is gone for good"), example="--dry-run")
def undo(job: Job) -> int:
    """Take back the last run, exactly; again for the one before it."""
    if job.dry_run:
        found = job.library.would_undo()
        lines = [f"{what.replace('_', ' ')}: {', '.join(names)}" for what, names in found.items() if names]
        return job.tell(found, lines or ["there is no run to take back"])
    said: list[str] = []
    job.library.undo(lambda verb, kept: job.tell({"undone": verb, "kept": kept, "in_immich": said}, [
        f"{verb} is taken back", *said, *(f"yours, kept: {path}" for path in kept)]),
        outside=lambda last: said.extend(taken_back(job, last)))
    return OK


@verb("Corrections", argument("person", metavar="PERSON"), CACHE,
      argument("--yes", action="store_true", help="do it; without it only what would go is told"),
      example='"Aunt Ilse"')
def forget(job: Job) -> int:
    """Remove every trace of a person: facesets, cache rows, proposals, report, and what could be undone."""
    from .. import forget as gone
    stopped = (path.with_suffix("") for path in job.paths.caches.glob("*.npz.parts"))       # perhaps before any cache
    found = job.args.cache or {*job.paths.caches.glob("*.npz"), *stopped, *job.paths.data_root.glob("calibrate/*.npz")}
    caches = sorted(path.absolute() for path in found)
    places = gone.Places(caches, job.proposal_paths(), sorted(job.paths.data_root.glob("immich/*/clustered*.json")),
                         sorted(job.paths.data_root.glob("immich/*/summary.json")),
                         [job.cluster_lock, job.paths.library / gone.REVIEW_LOCK, *map(cache.lock_of, caches)])

    def tell(done: gone.Forgotten) -> None:
        job.tell(asdict(done), gone.text(done))
    if job.dry_run or not job.args.yes:
        done = gone.would_forget(job.library, job.args.person, places)
        tell(done)
    else:
        done = gone.forget(job.library, job.args.person, places, job.command, tell)
    return FAILED if done.in_doubt else OK

"""Verbs that look and change nothing: how far everything is, what became of a photo, the report."""

from dataclasses import asdict

from .job import Job
from .table import CACHE, argument, verb


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
    found = reasons.why(job.library, job.args.photo, job.cache_paths(), job.proposals())
    return job.answer(found, reasons.text(found))


@verb("Looking", settings=["Reporting"], looks=True)
def report(job: Job) -> int:
    """Write index.html into the library: who is there, what to check, what the runs did; opens without a network."""
    from ...report import make
    made = make.make(job.paths.library, job.paths.data_root, job.settings("Reporting").report_alike,
                     job.folders)
    return job.tell(made.as_json(), made.lines())

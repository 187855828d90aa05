"""The verb `review` of sort_faces.py."""

from ..common import files
from ..common.errors import OK, Failure
from ..formats import proposal
from ..operations.verbs import Job
from ..operations.verbs.table import CACHE, EMBEDDING, EXPORTING, argument, verb


@verb("Looking", CACHE, argument("--no-open", action="store_true", help="only print the link"),
      settings=[EMBEDDING, EXPORTING], looks=True)
def review(job: Job) -> int:
    """Look through the facesets in a page on this machine: it asks what is worth asking, the riskiest first.

    Every answer is carried out as it is made; undo, there or here, takes back one after the other. It ends when nobody
    has looked for half an hour; what was said by then is in the library, or is carried out at the next start.
    """
    from ..operations import forget as gone
    from . import desk, holdings, server
    if not job.library.manifest().facesets:
        raise Failure(f"{job.paths.library} holds no faceset yet; `sort_faces.py status` says what to run")
    with files.only_one(job.paths.library / gone.REVIEW_LOCK, "sort_faces.py review"):
        held = holdings.Holdings(job.library, list(job.sources.values()),
                                 proposal.newest(job.proposals().values()), job.queues(), job.options())
        served = server.Server(desk.Desk(job.paths.library / desk.NAME, held), held, folders=job.folders)
        job.tell({"review": served.link}, [f"open {served.link}", "the link works once; Ctrl-C ends"])
        if not job.args.no_open:
            served.show()
        served.run()
    return OK

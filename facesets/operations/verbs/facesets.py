"""Verbs that make facesets, let them grow and look after them."""

from dataclasses import asdict, replace
from pathlib import Path

from ...common import terminal
from ...common.errors import PAUSED, Failure, UsageError
from ...formats import cache, proposal
from ...library.run import Run
from .faces import clustered, embedded, proposed
from .job import Job
from .table import CACHE, CLUSTERING, EMBEDDING, EXPORTING, FACESET, FACESETS, INTO, SHELF, argument, verb

MAKING, KEEPING = [EMBEDDING, CLUSTERING, EXPORTING], [EMBEDDING, EXPORTING]


@verb("Facesets", CACHE, argument("--user", type=terminal.user_label, metavar="LABEL",
                                help="carry out work/immich/LABEL/refine.json (default work/refine.json)"),
      argument("--candidates", action="store_true", help="also the uncertain ones, into _thin/"),
      settings=MAKING, alone=True, example="--user peter")
def export_swap(job: Job) -> int:
    """Make the facesets that refine.json proposes, all or none."""
    from ...export import swap
    where = (job.paths.user_dir(job.args.user) if job.args.user else job.paths.data_root) / "refine.json"
    made = proposal.read(where)
    job.args.cache = job.args.cache or [Path(path) for path in made.caches]
    caches = clustered(job) if job.args.cache else ()
    if not caches:
        raise Failure(f"{where} names no cache; give it with --cache")
    wanted = replace(made, extend={}, thin=made.thin if job.args.candidates else ())
    return job.show(swap.export(job.library, wanted, caches, job.options(caches[0].model),
                                min_faces=job.settings(CLUSTERING).min_faces, dry_run=job.dry_run))


@verb("Facesets", CACHE, settings=MAKING, alone=True)
def extend(job: Job) -> int:
    """Append faces that are known by now to their facesets; numbers and names stay.

    Their photos that only a backup of Immich's database tells of are counted: they are to be fetched first."""
    from ...export import swap
    from ...report import runs
    caches = clustered(job)
    known = replace(proposed(job, caches), facesets=(), thin=())
    users = [(user, stage.more) for user in runs.users(job.paths.data_root) if (stage := user.stage("stage"))]

    def act(run: Run) -> None:
        swap.carry_out(run, known, caches, job.options(caches[0].model))
        for user, more in users:
            if more and (waiting := user.waiting(job.library)):
                each = ", ".join(f"{folder} {count:,}" for folder, count in sorted(waiting.items()))
                run.notes.append(f"photos of known people that are not fetched yet: {each}; to fetch them: {more}")
    return job.change(act)


@verb("Facesets", argument("folder", type=Path, metavar="DIR"), INTO, settings=MAKING, alone=True, example="~/people")
def import_folders(job: Job) -> int:
    """Take hand-sorted folders as identities, one each; bystanders are dropped, mixed folders shared out.

    What a faceset holds of them leaves it, but for what you said since. A dry run finds the faces all the same, since
    it could not tell otherwise; no faceset is touched."""
    from ...cluster import identities
    from ...library import members
    from .. import hand_sorted, own
    from .. import import_folders as one
    queue = own.queue([job.args.folder])
    if embedded(job, queue).paused:
        return PAUSED
    faces = cache.read(job.own_cache)
    job.library.check_model(faces.model)
    others = members.beside(sorted({*job.paths.caches.glob("*.npz")} - {job.own_cache}), faces.model.sha256)
    faces = identities.with_distances([faces, *others.values()])[0]
    found = hand_sorted.propose(faces, queue, job.args.folder.absolute(), job.library.identities(faces.model),
                                job.settings(CLUSTERING).cluster_distance or faces.model.cluster_distance,
                                job.settings(CLUSTERING).known_distance or faces.model.known_distance)
    return job.change(lambda run: one.carry_out(run, found, faces, job.options(faces.model)))


@verb("Facesets", FACESET, settings=[*MAKING, SHELF], example='"Aunt Ilse"')
def split_eras(job: Job) -> int:
    """Make a further folder for each time of life of a faceset, by capture date; thin eras go to _thin/."""
    from .. import eras
    return job.change(lambda run: eras.split_eras(
        run, job.args.faceset, job.options(), distance=job.settings(SHELF).era_distance,
        apart=job.settings(SHELF).era_years, min_faces=job.settings(CLUSTERING).min_faces))


@verb("Facesets", FACESETS,
      argument("--apply", action="store_true", help="merge what is proposed without an objection"),
      settings=[*MAKING, SHELF], example="faceset_007 faceset_031")
def consolidate(job: Job) -> int:
    """Find facesets that are one person; --apply merges them. Facesets that are named are merged into the first."""
    from .. import consolidate as one
    if len(job.args.facesets) == 1:
        raise UsageError("name at least two facesets, or none to see what is proposed")
    groups = [job.args.facesets] if job.args.facesets else []
    if not groups:
        known = job.settings(CLUSTERING).known_distance or job.library.manifest().known_distance
        found = one.propose(job.library, known - job.settings(SHELF).consolidate_closer)
        if not job.args.apply or job.dry_run:
            return job.answer({"proposed": list(map(asdict, found))}, one.text(found))
        groups = [list(pair.facesets) for pair in found if not pair.against]
    return job.change(*(lambda run, group=group: one.merge(run, group[0], group[1:], job.options())
                        for group in groups))


@verb("Facesets", FACESETS, settings=KEEPING)
def refine(job: Job) -> int:
    """Choose the faces of existing facesets anew: outliers and near-duplicates out, best first. Handwork holds."""
    from .. import upkeep
    return job.change(lambda run: upkeep.refine(run, job.args.facesets, job.options()))


@verb("Facesets", FACESETS, settings=KEEPING)
def dedup(job: Job) -> int:
    """Each face in one faceset only, the nearest, and each moment once."""
    from .. import upkeep
    return job.change(lambda run: upkeep.dedup(run, job.args.facesets, job.options()))


@verb("Facesets", FACESETS, CACHE, settings=KEEPING, alone=True)
def enrich(job: Job) -> int:
    """Give facesets what the caches know by now: dates, users, Immich's names; missing files are written again."""
    from .. import upkeep
    caches = list(job.sources.values())
    return job.change(lambda run: upkeep.enrich(run, job.args.facesets, caches, job.options()))

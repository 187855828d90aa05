"""Verbs of caches: photos to faces, caches into one, faces to a proposal of who is who."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ...common import files, terminal
from ...common.errors import OK, PAUSED
from ...formats import cache, proposal
from ...formats.queue import Queue
from .job import Job
from .table import CACHE, CLUSTERING, EMBEDDING, INTO, argument, verb


@verb("Faces", argument("folders", nargs="+", type=Path, metavar="DIR"), INTO,
      argument("--retry-errors", action="store_true", help="try the photos again that could not be read"),
      settings=[EMBEDDING], example="~/Pictures /mnt/d/photos")
def embed(job: Job) -> int:
    """Find the faces in folders of your own, into a cache; resumable."""
    from .. import own
    if job.dry_run:
        shas = {entry.sha256 for entry in own.queue(job.args.folders).entries}
        new = len(shas - cache.processed(job.own_cache))
        return job.tell({"photos": len(shas), "new": new}, [f"{len(shas)} photos, {new} of them new"])
    terminal.keep_log(job.paths.data_root / "embed.log", "sort_faces.py embed")
    summary = embedded(job, own.queue(job.args.folders), job.args.retry_errors)
    job.tell(asdict(summary), summary.lines(job.own_cache))
    return PAUSED if summary.paused else OK


def embedded(job: Job, queue: Queue, retry_errors: bool = False, into: Path | None = None) -> Any:
    from ...embed import packs, pipeline
    out, settings = into or job.own_cache, job.settings(EMBEDDING)
    options = pipeline.Options(settings.lanes, settings.save_photos, retry_errors)
    with files.only_one(cache.lock_of(out), f"sort_faces.py {job.args.verb}"):
        return pipeline.run(queue, out, packs.recogniser_sha256(settings.model),
                            partial(pipeline.load, settings.model, settings.models_dir, settings.provider), options)


@verb("Faces", argument("caches", nargs="+", type=Path, metavar="CACHE"), argument("target", type=Path, metavar="INTO"),
      alone=True, example="work/cache/immich_*.npz work/cache/nl_full.npz")
def merge(job: Job) -> int:
    """Fold caches into one, by the SHA-256 of their photos; paths of further copies are kept, other models refused."""
    from ...library import members
    into = job.args.target.absolute()
    with files.only_one(cache.lock_of(into), "sort_faces.py merge"):
        whole = cache.read(into) if into.exists() else None
        before = len(whole.photos) if whole else 0
        for path in job.args.caches:
            whole = cache.read(path) if whole is None else members.merge(whole, cache.read(path))
        if whole and not job.dry_run:
            cache.write(into, whole)
    photos, faces = (len(whole.photos), len(whole.faces)) if whole else (0, 0)
    return job.tell({"photos": photos, "new": photos - before, "faces": faces},
                    [f"{into}: {photos:,} photos, {photos - before:,} of them new, {faces:,} faces"])


def clustered(job: Job) -> Sequence[cache.Cache]:
    """The caches with the distances that cluster_immich.py goes by."""
    from ...cluster import identities
    some = getattr(job.args, "cache", None)
    return identities.with_distances(job.caches(), job.library.manifest().model if some else None)


def proposed(job: Job, caches: Sequence[cache.Cache]) -> proposal.Proposal:
    from ...cluster import identities
    from ...cluster.rules import Rules
    model = caches[0].model
    rules = Rules.of(job.settings(CLUSTERING), model, job.settings("Exporting").duplicate_similarity)
    return identities.propose(
        caches, job.library.identities(model), rules, paths=[str(path) for path in job.sources],
        left_out=job.library.left_out(), **proposal.signed(job.args.verb, f"sort_faces.py {job.args.verb}"))


@verb("Faces", CACHE, settings=[CLUSTERING], alone=True)
def cluster(job: Job) -> int:
    """Say who is who in the caches: known people, new ones, the rest with reasons. Writes refine.json, no faceset."""
    made, out = proposed(job, clustered(job)), job.paths.data_root / "refine.json"
    if not job.dry_run:
        proposal.write(out, made)
    text = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in made.counts.items())
    return job.tell({"proposal": str(out), **made.counts}, [text, f"{out} says who; next: sort_faces.py export-swap"
                                                                + job.folders])


@verb("Faces", argument("folder", type=Path, metavar="LABELLED_DIR"), settings=[EMBEDDING], looks=True,
      example="~/people --model opencv_zoo")
def calibrate(job: Job) -> int:
    """Find the distances of a model on photos that are sorted into one folder per person."""
    from ...cluster import identities
    from ...cluster.calibrate import as_text
    from ...library import members
    from .. import labelled, own
    out = job.paths.data_root / "calibrate" / f"{Path(job.settings(EMBEDDING).model).name}.npz"
    queue = own.queue([job.args.folder])
    if embedded(job, queue, into=out).paused:
        return PAUSED
    faces = cache.read(out)
    others = members.beside(sorted(job.paths.caches.glob("*.npz")), faces.model.sha256)
    model = identities.with_distances([faces, *others.values()])[0].model
    found = labelled.distances(faces, queue, job.args.folder.absolute(),
                               (model.known_distance, model.cluster_distance))
    entry = labelled.setting(found, faces.model)
    return job.answer({**asdict(found), "entry": entry},
                      [*as_text(found), "for MODELS in facesets/formats/distances.py, for every cache:", entry])

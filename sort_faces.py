"""Work on facesets: make, grow, correct, name and look after them.

A FACESET is a folder (faceset_007), a number (7) or a name. What changes facesets happens all or not at all, and `undo`
takes it back, but for `forget`. `sort_faces.py VERB --help` tells more of each.

Reads and writes work/cache/*.npz, work/refine.json, work/immich/*/refine.json, facesets_swap_ready/

Exit    0 done · 1 failed · 2 somebody else is at work or the disk is full, run it again · 64 usage · 78 settings
"""

import argparse
import contextlib
import inspect
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import config
from facesets.common import files, terminal
from facesets.common.errors import FAILED, OK, PAUSED, AlreadyDone, Failure, UsageError
from facesets.formats import cache, proposal
from facesets.formats.queue import Queue
from facesets.formats.queue import read as read_queue
from facesets.operations.job import Job


def embed(job: Job) -> int:
    """Find the faces in folders of your own, into a cache; resumable."""
    import embed_worker
    from facesets.operations import own
    if job.dry_run:
        shas = {entry.sha256 for entry in own.queue(job.args.folders).entries}
        new = len(shas - cache.processed(job.own_cache))
        return job.tell({"photos": len(shas), "new": new}, [f"{len(shas)} photos, {new} of them new"])
    terminal.keep_log(job.paths.data_root / "embed.log", "sort_faces.py embed")
    summary = embedded(job, own.queue(job.args.folders), job.args.retry_errors)
    embed_worker.show(summary, job.own_cache, job.args.json)
    return PAUSED if summary.paused else OK


def embedded(job: Job, queue: Queue, retry_errors: bool = False, into: Path | None = None) -> Any:
    import embed_worker
    from facesets.embed import packs, pipeline
    out, settings = into or job.own_cache, job.embedding
    options = pipeline.Options(settings.lanes, settings.save_photos, retry_errors)
    with files.only_one(cache.lock_of(out), f"sort_faces.py {job.args.verb}"):
        return pipeline.run(queue, out, packs.recogniser_sha256(settings.model),
                            lambda: embed_worker.load(settings), options)


def clustered(job: Job) -> Sequence[cache.Cache]:
    """The caches with the distances that cluster_immich.py goes by."""
    import cluster_immich
    return cluster_immich.with_distances(job.caches())


def proposed(job: Job, caches: Sequence[cache.Cache]) -> proposal.Proposal:
    import cluster_immich
    from facesets.cluster import identities
    now = time.gmtime()
    return identities.propose(
        caches, cluster_immich.known_identities(job.library, caches[0].model),
        cluster_immich.rules_for(job.clustering, job.exporting, caches[0].model),
        run=time.strftime("%Y%m%d-%H%M%S", now) + f"-{job.args.verb}", made_by=f"sort_faces.py {job.args.verb}",
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", now), paths=[str(path) for path in job.cache_paths()])


def cluster(job: Job) -> int:
    """Say who is who in the caches: known people, new ones, the rest with reasons. Writes refine.json, no faceset."""
    made, out = proposed(job, clustered(job)), job.args.out or job.paths.data_root / "refine.json"
    if not job.dry_run:
        proposal.write(out, made)
    text = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in made.counts.items())
    return job.tell({"proposal": str(out), **made.counts}, [text, f"{out} says who; next: sort_faces.py export-swap"])


def export_swap(job: Job) -> int:
    """Make the facesets that refine.json proposes, all or none."""
    from facesets.export import swap
    where = job.args.proposal or (job.paths.user_dir(config.user_label(job.args.user)) / "refine.json"
                                  if job.args.user else job.paths.data_root / "refine.json")
    made = proposal.read(where)
    job.args.cache = job.args.cache or [Path(path) for path in made.caches]
    caches = clustered(job) if job.args.cache else ()
    if not caches:
        raise Failure(f"{where} names no cache; give it with --cache")
    detector = job.detector(caches[0].model)
    summary = swap.export(job.library, made, caches, detector, job.options, min_faces=job.clustering.min_faces,
                          candidates=job.args.candidates, dry_run=job.dry_run)
    return job.show(summary)


def export_training(job: Job) -> int:
    """Write pictures for trainers, Frigate and others, into folders of yours.

    Training folders have three framings, captions and loss masks; frigate and folders a person's best pictures.

    What lies below --out from an earlier export is renewed; what you changed or added there stays."""
    from facesets.export.training import CAPTION
    from facesets.library.members import Index
    from facesets.operations import outward
    index = Index(job.caches())
    said = outward.export(job.library, job.args.facesets, job.outside, job.args.purpose, index.boxes,
                          job.args.caption or CAPTION, job.args.kind)
    return job.answer(said, said)


def export_regions(job: Job) -> int:
    """Write who is where as XMP sidecars, for digiKam and Lightroom.

    One for each photo that shows somebody with a name; lay them beside the photos."""
    from facesets.export import regions
    queues = [read_queue(path) for path in sorted(job.paths.data_root.glob("immich/*/queue.json"))]
    names = {entry.sha256: entry.name for queue in queues for entry in queue.entries}
    said = regions.export(job.library, job.outside, names)
    return job.answer(said, said)


def extend(job: Job) -> int:
    """Append faces that are known by now to their facesets; numbers and names stay."""
    from facesets.export import swap
    caches = clustered(job)
    known = replace(proposed(job, caches), facesets=(), thin=())
    return job.change(lambda run: swap.carry_out(run, known, caches, job.detector(caches[0].model), job.options,
                                                 extend=True))


def merge(job: Job) -> int:
    """Fold caches into one, by the SHA-256 of their photos; paths of further copies are kept, other models refused."""
    from facesets.library import members
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


def import_folders(job: Job) -> int:
    """Take hand-sorted folders as identities, one each; bystanders are dropped, mixed folders shared out.

    A dry run finds the faces all the same, since it could not tell otherwise; no faceset is touched."""
    from facesets.operations import imports, own
    queue = own.queue([job.args.folder])
    if embedded(job, queue).paused:
        return PAUSED
    faces = cache.read(job.own_cache)
    job.library.check_model(faces.model)
    found = imports.propose(faces, queue, job.args.folder.absolute(), job.library.canonical(),
                            job.clustering.cluster_distance or faces.model.cluster_distance,
                            job.clustering.known_distance or faces.model.known_distance)
    return job.change(lambda run: imports.carry_out(run, found, faces, job.detector(faces.model), job.options))


def split_eras(job: Job) -> int:
    """Make a further folder for each time of life of a faceset, by capture date; thin eras go to _thin/."""
    from facesets.operations import eras
    return job.change(lambda run: eras.split_eras(
        run, job.args.faceset, job.options, job.detector(), distance=job.shelf.era_distance,
        apart=job.shelf.era_years, min_faces=job.clustering.min_faces))


def consolidate(job: Job) -> int:
    """Find facesets that are one person; --apply merges them. Facesets that are named are merged into the first."""
    from facesets.operations import consolidate as one
    if len(job.args.facesets) == 1:
        raise UsageError("name at least two facesets, or none to see what is proposed")
    groups = [job.args.facesets] if job.args.facesets else []
    if not groups:
        model = job.library.manifest().model or {}
        known = job.clustering.known_distance or float(model.get("known_distance", 0.45))
        found = one.propose(job.library, known - job.shelf.consolidate_closer)
        if not job.args.apply or job.dry_run:
            return job.answer({"proposed": [pair.as_json() for pair in found]}, one.text(found))
        groups = [list(pair.facesets) for pair in found if not pair.against]
    return job.change(*(lambda run, group=group: one.merge(run, group[0], group[1:], job.options, job.detector())
                        for group in groups))


def refine(job: Job) -> int:
    """Choose the faces of existing facesets anew: outliers and near-duplicates out, best first. Handwork holds."""
    from facesets.operations import upkeep
    return job.change(lambda run: upkeep.refine(run, job.args.facesets, job.options, job.detector()))


def dedup(job: Job) -> int:
    """Each face in one faceset only, the nearest, and each moment once."""
    from facesets.operations import upkeep
    return job.change(lambda run: upkeep.dedup(run, job.args.facesets, job.options, job.detector()))


def enrich(job: Job) -> int:
    """Give facesets what the caches know by now: dates, users, Immich's names; missing files are written again."""
    from facesets.operations import upkeep
    caches = [cache.read(path) for path in job.cache_paths()]
    return job.change(lambda run: upkeep.enrich(run, job.args.facesets, caches, job.options, job.detector()))


def name(job: Job) -> int:
    """Give a faceset its name; it survives everything."""
    from facesets.operations import edit
    return job.change(lambda run: edit.name(run, job.args.faceset, job.args.new_name))


def not_this(job: Job) -> int:
    """Say that faces are not the person of a faceset; no later run puts them back."""
    from facesets.operations import edit
    return job.change(lambda run: edit.not_this(run, job.args.faceset, job.args.photos, job.options, job.detector()))


def this_is(job: Job) -> int:
    """Say that faces of the caches are the person of a faceset, whatever clustering thought of them.

    A face is named by its key, as `why` prints it, or by its photo where that shows one face only.
    """
    from facesets.library.members import Index
    from facesets.operations import verdicts
    index = Index(job.caches())
    return job.change(lambda run: verdicts.this_is(run, job.args.faceset, job.args.photos, index, job.options,
                                                   job.detector()))


def split(job: Job) -> int:
    """Make a faceset of its own of some faces of a faceset: they are somebody else, and always the same one."""
    from facesets.operations import verdicts
    return job.change(lambda run: verdicts.split(run, job.args.faceset, job.args.photos, job.options, job.detector()))


def promote(job: Job) -> int:
    """Make a faceset of a group that was too thin for one."""
    from facesets.library.members import Index
    from facesets.operations import verdicts
    index, made = Index(job.caches()), [proposal.read(path) for path in job.proposals()]
    return job.change(*(lambda run, text=text: verdicts.promote_thin(run, text, made, index, job.options,
                                                                     job.detector()) for text in job.args.groups))


def two_people(job: Job) -> int:
    """Say that two facesets that look alike are two people: nothing merges them, nobody asks again."""
    from facesets.operations import verdicts
    return job.change(lambda run: verdicts.two_people(run, job.args.faceset, job.args.other))


def reviewed(job: Job) -> int:
    """Say that facesets are right as they are; only what comes to them later is asked again."""
    from facesets.operations import verdicts
    return job.change(*(lambda run, text=text: verdicts.reviewed(run, text) for text in job.args.facesets))


def drop(job: Job) -> int:
    """Move facesets to _dropped/; their faces do not come back as new ones."""
    from facesets.operations import edit
    return job.change(*(lambda run, text=text: edit.drop(run, text) for text in job.args.facesets))


def apply(job: Job) -> int:
    """Carry out, once more, a decisions.json that an earlier version's report saved. Now `review` does it at once."""
    from facesets.formats import decisions
    from facesets.operations import decided
    found = decisions.read(job.args.file)
    if found.library != decisions.library_id(job.paths.library):
        raise Failure(f"{job.args.file} was made for another library than {job.paths.library}; give its --library")
    status = job.change(lambda run: decided.carry_out(run, found, job.options, job.detector()))
    terminal.say("reports save no decisions any more: python sort_faces.py review carries each out at once")
    return status


def review(job: Job) -> int:
    """Look through the facesets in a page on this machine: it asks what is worth asking, the riskiest first.

    Every answer is carried out as it is made; undo, there or here, takes back one after the other. It ends when nobody
    has looked for half an hour; what was said by then is in the library, or is carried out at the next start.
    """
    from facesets.operations import forget as gone
    from facesets.review import desk, holdings, server
    if not job.library.manifest().facesets:
        raise Failure(f"{job.paths.library} holds no faceset yet; `sort_faces.py status` says what to run")
    with files.only_one(job.paths.library / gone.REVIEW_LOCK, "sort_faces.py review"):
        queues = [read_queue(path) for path in sorted(job.paths.data_root.glob("immich/*/queue.json"))]
        held = holdings.Holdings(job.library, [cache.read(path) for path in job.cache_paths()],
                                 [proposal.read(path) for path in job.proposals()], queues, job.options, job.detector())
        served = server.Server(desk.Desk(job.paths.library / desk.NAME, held), held)
        job.tell({"review": served.link}, [f"open {served.link}", "the link works once; Ctrl-C ends"])
        if not job.args.no_open:
            served.show()
        served.run()
    return OK


def report(job: Job) -> int:
    """Write index.html into the library: who is there, what to check, what the runs did; opens without a network."""
    from facesets.report import make
    made = make.make(job.paths.library, job.paths.data_root, job.reporting.report_alike)
    return job.tell(made.as_json(), made.lines())


def undo(job: Job) -> int:
    """Take back the last run, exactly; again for the one before it."""
    from facesets.library import journal
    if job.dry_run:
        found = journal.would_undo(job.paths.library)
        lines = [f"{what.replace('_', ' ')}: {', '.join(names)}" for what, names in found.items() if names]
        return job.tell(found, lines or ["there is no run to take back"])
    job.library.undo(lambda verb, kept: job.tell(
        {"undone": verb, "kept": kept}, [f"{verb} is taken back", *(f"yours, kept: {path}" for path in kept)]))
    return OK


def forget(job: Job) -> int:
    """Remove every trace of a person: facesets, cache rows, proposals, report, and what could be undone."""
    from facesets.operations import forget as gone
    stopped = (path.with_suffix("") for path in job.paths.caches.glob("*.npz.parts"))       # perhaps before any cache
    found = job.args.cache or {*job.paths.caches.glob("*.npz"), *stopped, *job.paths.data_root.glob("calibrate/*.npz")}
    caches = sorted(path.absolute() for path in found)
    places = gone.Places(caches, job.proposals(), sorted(job.paths.data_root.glob("immich/*/clustered*.json")),
                         [job.cluster_lock, job.paths.library / gone.REVIEW_LOCK, *map(cache.lock_of, caches)])

    def tell(done: gone.Forgotten) -> None:
        job.tell(asdict(done), gone.text(done))
    if job.dry_run or not job.args.yes:
        done = gone.would_forget(job.library, job.args.person, places, job.args.within)
        tell(done)
    else:
        done = gone.forget(job.library, job.args.person, places, job.args.within, job.command, tell)
    return FAILED if done.in_doubt else OK


def why(job: Job) -> int:
    """Tell what became of every face of a photo."""
    from facesets.operations import why as reasons
    found = reasons.why(job.library, job.args.photo, job.cache_paths(), job.proposals())
    return job.answer(found, reasons.text(found))


def status(job: Job) -> int:
    """One screen: every user, every stage, what is left, what to run next."""
    from facesets.operations import status as screen
    found = screen.status(job.paths.data_root, job.library)
    return job.answer(found.as_json(), screen.text(found))


def calibrate(job: Job) -> int:
    """Find the distances of a model on photos that are sorted into one folder per person."""
    from facesets.cluster.calibrate import as_text
    from facesets.operations import labelled, own
    out = job.paths.data_root / "calibrate" / f"{Path(job.embedding.model).name}.npz"
    if embedded(job, own.queue([job.args.folder]), into=out).paused:
        return PAUSED
    faces = cache.read(out)
    found = labelled.distances(faces, job.args.folder.absolute())
    entry = labelled.setting(found, faces.model)
    return job.answer({**asdict(found), "entry": entry}, [*as_text(found), "for MODELS in config.py:", entry])


EMBEDDING, CLUSTERING, EXPORTING = config.Embedding, config.Clustering, config.Exporting
FACESET, FACESETS = ("faceset", {"metavar": "FACESET"}), ("facesets", {"metavar": "FACESET", "nargs": "*"})
CACHE = ("--cache", {"type": Path, "action": "append", "metavar": "PATH",
                     "help": "a cache to use, may be given several times (default: all in work/cache)"})
INTO = ("--into", {"type": Path, "metavar": "CACHE",
                   "help": "the cache to go on with (default work/cache/nl_full.npz)"})
FROM_CACHES = ("cluster", "export-swap", "extend", "merge", "import-folders", "enrich", "this-is", "promote")
LOOKING = ("review", "export-training", "export-regions", "why", "status", "report", "calibrate")   # no --dry-run
Argument = tuple[str, dict[str, Any]]

# verb -> what carries it out (its docstring is the manual), the sections of the settings it takes, its arguments
VERBS: dict[str, tuple[Callable[[Job], int], tuple[type, ...], tuple[Argument, ...]]] = {
    "embed": (embed, (EMBEDDING,), (("folders", {"nargs": "+", "type": Path, "metavar": "DIR"}), INTO,
              ("--retry-errors", {"action": "store_true", "help": "try the photos again that could not be read"}))),
    "cluster": (cluster, (CLUSTERING,), (CACHE, (
        "--out", {"type": Path, "metavar": "PATH", "help": "where to write (default work/refine.json)"}))),
    "export-swap": (export_swap, (EMBEDDING, CLUSTERING, EXPORTING), (
        CACHE, ("--proposal", {"type": Path, "metavar": "PATH", "help": "default work/refine.json"}),
        ("--user", {"metavar": "LABEL", "help": "carry out work/immich/LABEL/refine.json"}),
        ("--candidates", {"action": "store_true", "help": "also the uncertain ones, into _thin/"}))),
    "export-training": (export_training, (), (
        FACESETS, ("--for", {"dest": "purpose", "required": True, "metavar": "PROGRAM",
                             "choices": ("kohya", "onetrainer", "ai-toolkit", "frigate", "folders"),
                             "help": "kohya, onetrainer, ai-toolkit, frigate or folders"}),
        ("--out", {"type": Path, "required": True, "metavar": "DIR", "help": "one folder each is made below it"}),
        ("--caption", {"metavar": "TEXT", "help": "of {trigger}, {class}, {framing} and {year}"}),
        ("--class", {"dest": "kind", "default": "person", "metavar": "WORD", "help": "person, woman, child, ..."}),
        CACHE)),
    "export-regions": (export_regions, (), (
        ("--out", {"type": Path, "required": True, "metavar": "DIR", "help": "one folder a user is made below it"}),)),
    "extend": (extend, (EMBEDDING, CLUSTERING, EXPORTING), (CACHE,)),
    "merge": (merge, (), (("caches", {"nargs": "+", "type": Path, "metavar": "CACHE"}),
                          ("target", {"type": Path, "metavar": "INTO"}))),
    "import-folders": (import_folders, (EMBEDDING, CLUSTERING, EXPORTING), (
        ("folder", {"type": Path, "metavar": "DIR"}), INTO)),
    "split-eras": (split_eras, (EMBEDDING, CLUSTERING, EXPORTING, config.Shelf), (FACESET,)),
    "consolidate": (consolidate, (EMBEDDING, CLUSTERING, EXPORTING, config.Shelf), (
        FACESETS, ("--apply", {"action": "store_true", "help": "merge what is proposed without an objection"}))),
    "refine": (refine, (EMBEDDING, EXPORTING), (FACESETS,)),
    "dedup": (dedup, (EMBEDDING, EXPORTING), (FACESETS,)),
    "enrich": (enrich, (EMBEDDING, EXPORTING), (FACESETS, CACHE)),
    "name": (name, (), (FACESET, ("new_name", {"metavar": "NAME"}))),
    "not-this": (not_this, (EMBEDDING, EXPORTING), (FACESET, ("photos", {
        "metavar": "PHOTO", "nargs": "+", "help": "a picture (0003.png), a path, a SHA-256 or a face key"}))),
    "this-is": (this_is, (EMBEDDING, EXPORTING), (FACESET, ("photos", {
        "metavar": "FACE", "nargs": "+", "help": "a face key, or a photo with one face"}), CACHE)),
    "split": (split, (EMBEDDING, EXPORTING), (FACESET, ("photos", {
        "metavar": "FACE", "nargs": "+", "help": "a picture (0003.png), a path, a SHA-256 or a face key"}))),
    "promote": (promote, (EMBEDDING, EXPORTING), (("groups", {
        "metavar": "THIN", "nargs": "+", "help": "a folder of _thin/, or a face key of a thin group"}), CACHE)),
    "two-people": (two_people, (), (FACESET, ("other", {"metavar": "FACESET"}))),
    "reviewed": (reviewed, (), (("facesets", {"metavar": "FACESET", "nargs": "+"}),)),
    "drop": (drop, (), (("facesets", {"metavar": "FACESET", "nargs": "+"}),)),
    "apply": (apply, (EMBEDDING, EXPORTING), (("file", {
        "type": Path, "metavar": "FILE", "help": "decisions.json, as the report page saved it"}),)),
    "undo": (undo, (), ()),
    "forget": (forget, (), (("person", {"metavar": "PERSON"}), CACHE, (
        "--yes", {"action": "store_true", "help": "do it; without it only what would go is told"}), (
        "--within", {"type": float, "metavar": "X",
                     "help": "cos-dist to the centroid of other faces that go too (default: the model's)"}))),
    "why": (why, (), (("photo", {"metavar": "PHOTO"}), CACHE)),
    "status": (status, (), ()),
    "calibrate": (calibrate, (EMBEDDING,), (("folder", {"type": Path, "metavar": "LABELLED_DIR"}),)),
    "report": (report, (config.Reporting,), ()),
    "review": (review, (EMBEDDING, EXPORTING), (CACHE, (
        "--no-open", {"action": "store_true", "help": "only print the link"}))),
}


GROUPS = {      # verb -> an example of its arguments
    "Faces": {
        "embed": "~/Pictures /mnt/d/photos", "merge": "work/cache/immich_*.npz work/cache/nl_full.npz", "cluster": "",
        "calibrate": "~/people --model opencv_zoo"},
    "Facesets": {
        "export-swap": "--user peter", "extend": "", "import-folders": "~/people", "split-eras": '"Aunt Ilse"',
        "consolidate": "faceset_007 faceset_031", "refine": "", "dedup": "", "enrich": ""},
    "Corrections": {
        "review": "",
        "name": '7 "Aunt Ilse"', "this-is": "Anna /mnt/d/photos/IMG_2041.jpg", "not-this": "7 0003.png 0011.png",
        "split": "7 0003.png 0011.png", "promote": "_thin/thin_0a1b2c3d4e5f", "two-people": "7 31",
        "reviewed": "7 12", "drop": "12 13", "apply": "~/Downloads/decisions.json",
        "undo": "--dry-run", "forget": '"Aunt Ilse"'},
    "For others": {
        "export-training": "Anna --for kohya --out ~/training", "export-regions": "--out ~/sidecars"},
    "Looking": {
        "status": "", "why": "/mnt/d/photos/IMG_2041.jpg", "report": ""}}


def manual() -> str:
    """The docstring, and what every verb does in the first line of its own."""
    lines = [line for group, verbs in GROUPS.items() for line in (
        "", group, *(f"  {verb:<15} {(VERBS[verb][0].__doc__ or '').splitlines()[0]}" for verb in verbs))]
    return "\n".join([inspect.cleandoc(__doc__), *lines])


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = terminal.Parser(manual(), prog="sort_faces.py", usage="sort_faces.py VERB ...")
    examples = {verb: example for group in GROUPS.values() for verb, example in group.items()}
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, help=argparse.SUPPRESS)
    for verb, (act, sections, arguments) in VERBS.items():
        prog = f"sort_faces.py {verb}"
        help_text = f"{inspect.getdoc(act)}\n\nExample  python {prog} {examples[verb]}"
        one = verbs.add_parser(verb, manual=help_text, prog=prog)
        for flag, options in arguments:
            one.add_argument(flag, **options)
        if verb not in LOOKING:
            one.add_argument("--dry-run", action="store_true", help="only say what would be done")
        one.add_argument("--json", action="store_true", help="print the result as one JSON value on stdout")
        config.add_flags(one, config.Paths, only=("data_root", "library"))
        for section in sections:
            config.add_flags(one, section)
    if not argv:
        parser.print_help(sys.stderr)
        raise UsageError("which of these?")
    if argv[0] not in VERBS and not argv[0].startswith("-"):
        raise UsageError(f"there is no verb {argv[0]!r}{terminal.did_you_mean(argv[0], VERBS)}; `sort_faces.py --help` "
                         "lists them")
    return parser.parse_args(argv)


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(sys.argv[1:] if argv is None else argv)
    terminal.stop_on_terminate()
    job = Job(args, lambda section: config.load(getattr(config, section), args))
    try:
        with job.alone() if args.verb in FROM_CACHES else contextlib.nullcontext():     # nobody is forgotten meanwhile
            return VERBS[args.verb][0](job)
    except AlreadyDone as done:
        return job.tell({"done": str(done)}, [str(done)])


if __name__ == "__main__":
    sys.exit(main())

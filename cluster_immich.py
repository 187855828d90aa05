"""Turn caches of faces into facesets: known faces to the identities they belong to, the rest to new ones.

Reads   work/cache/immich_<user>.npz and every other cache there of the same model (or --cache), since a person may be
        seen seldom by each user and often by all; facesets_swap_ready/
Writes  work/immich/<user>/refine.json      the refine manifest: who every face is, and why
        work/immich/<user>/clustered.json   what this run looked at, so that clustering again adds nothing
        facesets_swap_ready/faceset_NNN/    every new identity, all or none; `sort_faces.py undo` takes them back
Run     python cluster_immich.py --user peter
        python cluster_immich.py --user peter --dry-run     writes refine.json only
        python cluster_immich.py --user peter --scheduler tls://host:8786   the same on many machines, docs/cluster.md
Known faces are listed for `sort_faces.py extend`.
Exit    0 done · 1 failed · 2 somebody else is at work, run the same command again · 64 usage · 78 settings
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import config
from facesets.cluster import identities, machines, seen
from facesets.cluster.rules import Rules
from facesets.common import files, terminal
from facesets.export import looks, swap
from facesets.formats import cache, proposal
from facesets.formats import queue as queues
from facesets.library import members
from facesets.library.run import Run
from facesets.library.store import Library


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = terminal.Parser(__doc__, prog="cluster_immich.py")
    parser.add_argument("--user", type=terminal.user_label, required=True, metavar="LABEL",
                        help="whose cache: work/cache/immich_LABEL.npz")
    parser.add_argument("--cache", action="append", type=Path, metavar="PATH",
                        help="cluster this cache alone, may be given several times")
    parser.add_argument("--dry-run", action="store_true", help="propose only, touch no faceset")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object on stdout")
    config.add_flags(parser, config.Paths, only=("data_root", "library"))
    config.add_flags(parser, config.Engine, only=("scheduler", "scheduler_tls"))
    config.add_flags(parser, config.Clustering)
    config.add_flags(parser, config.Embedding, only=("model", "provider", "models_dir"))
    config.add_flags(parser, config.Exporting)
    return parser.parse_args(argv)


def together(own: Path, folder: Path) -> dict[Path, cache.Cache]:
    """The user's cache, then all others of the same recogniser."""
    ours = cache.read(own)
    return {own: ours, **members.beside(sorted(set(folder.glob("*.npz")) - {own}), ours.model.sha256)}


def say_what_is_missing(args: argparse.Namespace, queue: Path, caches: Sequence[cache.Cache]) -> None:
    """Photos that were not staged since somebody else had them are to be in that one's cache."""
    known = {item.sha256 for item in queues.read(queue).known} if queue.exists() and not args.cache else set()
    if missing := known - {photo.sha256 for one in caches for photo in one.photos}:
        terminal.say(f"{len(missing)} photos of {args.user} that somebody else had before him are in no cache of this "
                     "model: finalize the others first, or, if they use another model, stage and finalize "
                     f"{args.user} once more")


def whose(made: proposal.Proposal, caches: Sequence[cache.Cache]) -> dict[str, int]:
    """User, "" for own folders -> faces that new facesets have from them."""
    new = {face.face[:64] for group in made.facesets for face in group.faces}
    users = {photo.sha256: photo.user for one in reversed(caches) for photo in one.photos if photo.sha256 in new}
    return dict(sorted(Counter(users[face.face[:64]] for group in made.facesets for face in group.faces).items()))


def summary_of(made: proposal.Proposal, caches: Sequence[cache.Cache], emitted: Run | None) -> dict[str, Any]:
    """What the run did, in numbers that add up: every face is in exactly one of the counts below `faces`."""
    conflicts = [{"faces": len(group.faces), "names": group.names}
                 for group in made.facesets if len(group.names) > 1]
    return {"run": made.run, **made.counts, "rejected_for": Counter(face.reason for face in made.rejected),
            "new_by_user": whose(made, caches),
            "known_by_faceset": {folder: len(faces) for folder, faces in made.extend.items()},
            "name_conflicts": conflicts, "dry_run": emitted is None,
            "exported": None if emitted is None else emitted.as_json()}


ADVICE = {"known": " (sort_faces.py extend)", "ambiguous": " (listed in refine.json)"}


def in_words(summary: dict[str, Any]) -> Iterator[str]:
    yield f"{summary['faces']} faces"
    yield from (f"  {summary[name]:7} {words}{ADVICE.get(name, '')}" for name, (words, _) in proposal.COUNTS.items()
                if summary[name])
    for reason, faces in sorted(summary["rejected_for"].items()):
        yield f"          {faces} {reason}"
    for conflict in summary["name_conflicts"]:
        names = ", ".join(f"{terminal.safe(name, 40)} ({faces})" for name, faces in conflict["names"].items())
        yield f"  one faceset of {conflict['faces']} faces has several names in Immich: {names}"
    yield f"{summary['facesets']} new facesets proposed, {summary['thin_facesets']} thin"
    if len(summary["new_by_user"]) > 1:
        yield "  their faces: " + ", ".join(f"{faces} of {user or 'own folders'}"
                                            for user, faces in summary["new_by_user"].items())
    if summary["exported"]:
        yield from (f"  {note}" for note in summary["exported"]["notes"])
        counts = ", ".join(f"{many} {what}" for what, many in sorted(summary["exported"]["counts"].items()))
        yield f"exported: {counts or 'nothing new'}"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Propose, write the proposal, carry it out; the summary."""
    paths, settings = config.load(config.Paths, args), config.load(config.Clustering, args)
    embedding, exporting = config.load(config.Embedding, args), config.load(config.Exporting, args)
    library, folder = Library(paths.library), paths.user_dir(args.user)
    sources = ({path: cache.read(path) for path in args.cache} if args.cache else
               together(paths.cache(args.user), paths.caches))
    caches = identities.with_distances(list(sources.values()), library.manifest().model if args.cache else None)
    say_what_is_missing(args, paths.queue(args.user), caches)
    memory = folder / "clustered.json"
    runs = {str(run.get("run")) for run in library.manifest().runs}
    seen.keep_promise(memory, runs)
    rules, before = Rules.of(settings, caches[0].model, exporting.duplicate_similarity), seen.read(memory)
    known = seen.together(paths.data_root.glob("immich/*/clustered.json"), asdict(rules), runs)
    engine = config.load(config.Engine, args)
    workers = machines.Machines(engine.scheduler, engine.scheduler_tls) if engine.scheduler else nullcontext()
    with workers as others:
        made = identities.propose(
            caches, library.identities(caches[0].model), rules, paths=[str(path) for path in sources], seen=known,
            left_out=library.left_out(), machines=others,
            **proposal.signed(f"cluster-{args.user}", "cluster_immich.py"))
    proposal.write(folder / "refine.json", made)
    if args.dry_run:
        return summary_of(made, caches, None)
    opener = looks.opener(caches[0].model, embedding.model, embedding.models_dir, embedding.provider)
    held = {*library.settled(), *(face.face for faces in made.extend.values() for face in faces)}
    looked_at = {key for one in caches for key in cache.face_keys(one)} - held     # they are free once that is undone
    emitted = swap.export(library, replace(made, thin=(), extend={}), caches,
                          swap.Options(opener, **asdict(exporting)), min_faces=settings.min_faces,
                          ready=lambda run: seen.promise(memory, before, made, looked_at.difference(run.waiting)))
    seen.remember(memory, before, made, looked_at.difference(emitted.waiting), bool(emitted.facesets))
    seen.keep_promise(memory, ())
    return summary_of(made, caches, emitted)


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    terminal.stop_on_terminate()
    root = config.load(config.Paths, args).data_root
    with files.only_one(root / "cluster.lock", f"cluster_immich.py --user {args.user}"):
        terminal.keep_log(config.load(config.Paths, args).user_dir(args.user) / "cluster.log",
                          f"cluster_immich.py --user {args.user}")
        summary = run(args)
    terminal.tell(summary, in_words(summary), args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

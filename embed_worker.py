"""Find and embed the faces of every photo in a queue.

Reads   queue.json and its photos     Writes  the cache, e.g. immich_peter.npz (and its .parts while at work); embed.log
Run     python embed_worker.py --queue work/immich/peter/queue.json \\
            --out work/cache/immich_peter.npz
        python embed_worker.py --doctor     versions, providers, models; ours against InsightFace, device against CPU
Runs anywhere; on Windows it opens the win_path of each photo, elsewhere the path. The same command goes on after a
stop or a kill. Photos that could not be read are listed by reason, and tried again with --retry-errors.
A photo that lies on its side or upside down without saying so is set right, where its faces tell.
Exit    0 done · 1 failed · 2 paused, run the same command again · 64 usage · 78 settings
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import config
from facesets.common import files, terminal
from facesets.common.errors import OK, PAUSED, UsageError
from facesets.embed import packs, pipeline
from facesets.formats import cache
from facesets.formats import queue as queues

if TYPE_CHECKING:
    from facesets.embed.analyser import Analyser


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    settings = config.load(config.Embedding, args)
    if args.doctor:
        from facesets.embed import doctor, providers
        providers.check(settings.provider, tuple(providers.ORT_NAMES))      # its name; the report says whether it works
        return doctor.report(packs.open_pack(settings.model, settings.models_dir), settings.provider)
    terminal.stop_on_terminate()
    options = pipeline.Options(settings.lanes, settings.save_photos, args.retry_errors)
    with files.only_one(cache.lock_of(args.out), "embed_worker.py"):
        terminal.keep_log(args.queue.with_name("embed.log"), f"embed_worker.py --queue {args.queue} --out {args.out}")
        recogniser = packs.recogniser_sha256(settings.model)
        summary = pipeline.run(queues.read(args.queue), args.out, recogniser, lambda: load(settings), options,
                               distances(recogniser))
    show(summary, args.out, args.json)
    return PAUSED if summary.paused else OK


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = terminal.Parser(__doc__, prog="embed_worker.py")
    parser.add_argument("--queue", type=Path, help="queue.json, as immich_stage.py writes it")
    parser.add_argument("--out", type=Path, help="the cache to write or to go on with")
    parser.add_argument("--retry-errors", action="store_true", help="try the photos again that could not be read")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object on stdout")
    parser.add_argument("--doctor", action="store_true", help="say what works here, and end")
    config.add_flags(parser, config.Embedding)
    args = parser.parse_args(argv)
    if not args.doctor and not (args.queue and args.out):
        raise UsageError("--queue and --out are needed; `embed_worker.py --help` is the manual")
    return args


def load(settings: config.Embedding) -> "Analyser":
    """The models, on the provider that was asked for."""
    from facesets.embed import providers
    from facesets.embed.analyser import Analyser
    providers.check(settings.provider)      # before anything is fetched
    pack = packs.open_pack(settings.model, settings.models_dir)
    if pack.recogniser.sha256 not in config.MODELS:
        terminal.say(f"no distances are known for the recogniser of {pack.name}: those of buffalo_l are recorded, see "
                     "MODELS in config.py")
    analyser = Analyser(pack, settings.provider, distances(pack.recogniser.sha256), say=terminal.say)
    terminal.say(f"{pack.name} on {analyser.provider}")
    return analyser


def distances(recogniser_sha256: str) -> tuple[float, float]:
    """Where the recogniser's same person ends and where its clusters end, for the cache; buffalo_l's if unknown."""
    thresholds = config.MODELS.get(recogniser_sha256, config.BUFFALO_L)
    return thresholds.known_distance, thresholds.cluster_distance


def show(summary: pipeline.Summary, out: Path, as_json: bool) -> None:
    now = summary.with_faces + summary.noface + summary.errors
    second = f", {summary.second_look} of them at the second look" if summary.second_look else ""
    second += f", {summary.turned} photos lie on their side or upside down" if summary.turned else ""
    terminal.say(f"{now} photos in {summary.elapsed:.1f} s ({summary.photos_per_second}/s), {summary.done_before} "
                 f"before: {summary.faces} faces in {summary.with_faces}{second}, {summary.noface} without, "
                 f"{summary.errors} unreadable")
    for reason, count in list(summary.reasons.items())[:10]:
        terminal.say(f"  {count:6} unreadable: {terminal.safe(reason)}")
    if summary.paused:
        terminal.say("paused; everything is saved, the same command goes on")
    else:
        terminal.say(f"{out} is complete")
    if as_json:
        terminal.answer(json.dumps(asdict(summary), ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())

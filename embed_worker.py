"""Find and embed the faces of every photo in a queue.

Reads   queue.json and its photos     Writes  the cache, e.g. immich_peter.npz (and its .parts while at work); embed.log
Run     python embed_worker.py --queue work/immich/peter/queue.json \\
            --out work/cache/immich_peter.npz
        the same with --scheduler tls://host:8786 on the workers of an engine, see docs/cluster.md
        python embed_worker.py --doctor     versions, providers, models; ours against InsightFace, device against CPU
Runs anywhere; on Windows it opens the win_path of each photo, elsewhere the path. The same command goes on after a
stop or a kill. Photos that could not be read are listed by reason, and tried again with --retry-errors.
A photo that lies on its side or upside down without saying so is set right, where its faces tell.
Exit    0 done · 1 failed · 2 paused, run the same command again · 64 usage · 78 settings
"""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import config
from facesets.common import files, terminal
from facesets.common.errors import OK, PAUSED, UsageError
from facesets.embed import packs, pipeline
from facesets.formats import cache
from facesets.formats import queue as queues


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
        load = partial(pipeline.load, settings.model, settings.models_dir, settings.provider)
        work = partial(pipeline.run, queues.read(args.queue), args.out, recogniser, load, options)
        summary = on_engine(config.load(config.Engine, args), settings.model, work)
    terminal.tell(asdict(summary), summary.lines(args.out), args.json)
    return PAUSED if summary.paused else OK


def on_engine(engine: config.Engine, model: str, work: Callable[..., pipeline.Summary]) -> pipeline.Summary:
    """Do the work here, or on the workers of the engine that is named; each of them has settings of its own."""
    if not engine.scheduler:
        return work()
    from facesets.embed import machines
    with machines.Machines(engine.scheduler, engine.scheduler_tls, model, partial(config.load, config.Embedding),
                           engine.photo_timeout) as workers:
        summary = work(elsewhere=workers.outcomes)
    workers.tell(summary)
    return summary


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = terminal.Parser(__doc__, prog="embed_worker.py")
    parser.add_argument("--queue", type=Path, help="queue.json, as immich_stage.py writes it")
    parser.add_argument("--out", type=Path, help="the cache to write or to go on with")
    parser.add_argument("--retry-errors", action="store_true", help="try the photos again that could not be read")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object on stdout")
    parser.add_argument("--doctor", action="store_true", help="say what works here, and end")
    config.add_flags(parser, config.Embedding, config.Engine)
    args = parser.parse_args(argv)
    if not args.doctor and not (args.queue and args.out):
        raise UsageError("--queue and --out are needed; `embed_worker.py --help` is the manual")
    return args


if __name__ == "__main__":
    os._exit(main())    # sys.exit would wait for a lane that hangs in a decoder or on a share

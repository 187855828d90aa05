"""Coverage-guided fuzzing of a parser with atheris, which is in no lock: it goes into an environment of its own.

Run     python3.11 -m venv fuzz-venv && fuzz-venv/bin/pip install atheris
        PYTHONPATH=.venv/lib/python3.11/site-packages fuzz-venv/bin/python tests/trust/fuzz.py queue -max_total_time=60
Inputs that reach new code are kept in tests/trust/corpus/<parser>/, which test_trust_files.py reads on every change.
"""

import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
with atheris.instrument_imports(include=["facesets", "config", "json.decoder", "json.scanner"]):
    import parsers


def main() -> None:
    name, *options = sys.argv[1:]
    folder = Path(tempfile.mkdtemp())
    corpus = HERE / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "sound").write_bytes(parsers.sound(name, folder))

    def one(data: bytes) -> None:
        parsers.attempt(name, folder, data)

    atheris.Setup([sys.argv[0], str(corpus), "-max_len=4096", "-rss_limit_mb=2048", "-timeout=10", *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

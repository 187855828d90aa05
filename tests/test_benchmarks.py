"""Every figure that is claimed comes out of benchmarks/, so each of them must still begin."""

import subprocess
import sys
from pathlib import Path

import pytest
from busy import LIMIT

BENCHMARKS = sorted((Path(__file__).resolve().parent.parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_finds_what_it_imports(script: Path) -> None:
    code = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2], run_name='looked at')"
    run = subprocess.run([sys.executable, "-c", code, script.parent, script], capture_output=True, text=True,
                         timeout=LIMIT)
    assert run.returncode == 0, run.stderr[-2000:]

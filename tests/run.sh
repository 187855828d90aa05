#!/usr/bin/env bash
# Make the environment and run the linters and every test; arguments go to pytest (-k NAME, -x, ...).
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$here"
bash finalize_immich.sh --setup
python=$here/.venv/bin/python
if ! cmp -s tests/requirements.txt .venv/tests-requirements.txt; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tests/requirements.txt
    cp tests/requirements.txt .venv/tests-requirements.txt
fi
"$python" -m ruff check .
"$python" -m mypy
exec "$python" -m pytest -q -n "${TEST_PROCESSES:-2}" --dist loadfile "$@"

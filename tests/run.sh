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
types=$(mktemp)
"$python" -m mypy >"$types" 2>&1 &      # while tests wait for one another; a process more than two cores for them, too
mypy=$! status=0
trap 'kill "$mypy" 2>/dev/null || true; rm -f -- "$types"' EXIT
"$python" -m pytest -q -n "${TEST_PROCESSES:-3}" --dist loadfile "$@" || status=$?
wait "$mypy" || status=1
cat -- "$types"
exit "$status"

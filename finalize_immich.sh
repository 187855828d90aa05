#!/usr/bin/env bash
# From a staged queue to facesets: embed (here or on the Windows side), cluster, export, report.
#
#   bash finalize_immich.sh NAME            the rest of the work for one user, after immich_stage.py --user NAME
#   bash finalize_immich.sh --demo          a newcomer's first look: everything, over a small sample library
#   bash finalize_immich.sh --setup         only make the Python environment (.venv)
# Options of the first: --local (embed in this environment), --dry-run (say what would be run).
# Exit    0 done · 1 failed · 2 paused, run the same command again · 64 usage · 77 key refused · 78 settings
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
venv=$here/.venv
python=$venv/bin/python

say() { printf '%s\n' "$*" >&2; }
fail() { local status=$1; shift; say "finalize_immich: $*"; exit "$status"; }

find_python() {                         # the newest Python that the locks are made for
    local name
    for name in python3.12 python3.11 python3; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    fail 78 "Python 3.11 or 3.12 is needed; on Debian or Ubuntu: sudo apt install python3 python3-venv"
}

set_up() {                              # make .venv, once per state of the lock
    local lock=$here/requirements-wsl.txt stamp=$venv/requirements-wsl.txt base
    cmp -s "$lock" "$stamp" && return
    base=$(find_python)
    say "making the environment .venv with $base (once, about a minute)"
    "$base" -m venv "$venv" || fail 78 "no virtual environment; on Debian or Ubuntu: sudo apt install python3-venv"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock" \
        || fail 1 "the packages of requirements-wsl.txt did not install; check the network, then the same command again"
    cp "$lock" "$stamp"
}

finalize() {                            # user, dry-run prefix ("" or "say")
    local user=$1 run=$2
    eval "$("$python" "$here/config.py" --shell)"
    local queue=$FACESETS_DATA_ROOT/immich/$user/queue.json cache=$FACESETS_DATA_ROOT/cache/immich_$user.npz
    [[ -f $queue ]] || fail 1 "$queue is missing; first: python immich_stage.py --user $user"
    $run "$python" "$here/embed_worker.py" --queue "$queue" --out "$cache"
    $run "$python" "$here/cluster_immich.py" --user "$user"
    say "facesets: $FACESETS_LIBRARY"
}

main() {
    local user='' run='' argument
    for argument in "$@"; do
        case $argument in
            --demo) set_up; exec "$python" -m facesets.demo.run ;;
            --setup) set_up; say "ready: source .venv/bin/activate"; exit 0 ;;
            --dry-run) run=say ;;
            --local) ;;
            -h | --help) sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p}' "$here/finalize_immich.sh"; exit 0 ;;
            -*) fail 64 "unknown option $argument; --help is the manual" ;;
            *) [[ -z $user ]] || fail 64 "one user at a time; --help is the manual"; user=$argument ;;
        esac
    done
    [[ $user =~ ^[a-z0-9][a-z0-9_-]{0,31}$ ]] || fail 64 "usage: bash finalize_immich.sh NAME | --demo | --setup"
    set_up
    finalize "$user" "$run"
}

main "$@"

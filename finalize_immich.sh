#!/usr/bin/env bash
# From a staged queue to facesets: embed (here or on the Windows side), cluster,
# export, report.
#
#   bash finalize_immich.sh NAME     the rest of the work for one user, after
#                                    python immich_stage.py --user NAME
#   bash finalize_immich.sh --demo   a newcomer's first look: everything, over a
#                                    small sample library
#   bash finalize_immich.sh --setup  only make the Python environment (.venv)
#   bash finalize_immich.sh --setup-windows   only make or mend the Windows side,
#                                    from WSL; then its self-test
#   bash finalize_immich.sh --version
# Options of the first:
#   --local     embed in this environment, with the best provider that its
#               onnxruntime offers
#   --windows   embed on the Windows side of this WSL machine; without either it
#               finds out, and says why
#   --scheduler tls://HOST:8786   embed and cluster on the workers of an engine,
#               docs/cluster.md
#   --dry-run   check everything, and say what would be run
#   --model X   and every other setting of the steps, over environment and .env
#               (python config.py --help lists them)
# Whatever stops it, the same command goes on. docs/windows.md and docs/linux.md
# say more.
# Exit    0 done · 1 failed · 2 paused, run the same command again · 64 usage
#         77 key refused · 78 settings
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
venv=$here/.venv
python=$venv/bin/python
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
# nothing from here on asks the server, so no child is told
unset IMMICH_API_KEY IMMICH_WRITE_API_KEY IMMICH_ADMIN_API_KEY IMMICH_EMAIL IMMICH_PASSWORD

say() { printf '%s\n' "$*" >&2 || true; }        # the work goes on where nobody listens
fail() { local status=$1; shift; say "finalize_immich: $*"; exit "$status"; }
# shellcheck disable=SC2317,SC2329  # called as $run; one version says it one way, one the other
would() {                               # what --dry-run does with a command
    [[ $1 != carry ]] || set -- "$python" -m facesets.windows.carry "${@:2}"
    say "would run:$(printf ' %q' "$@")"
}
carry() { "$python" -m facesets.windows.carry "$@"; }

find_python() {                         # the system's Python if the locks are made for it, else the newest one here
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 ~/.local/bin/python3.12; do     # the last is uv's
        if "$name" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    fail 78 "Python 3.11 to 3.14 with venv is needed: sudo apt install python3 python3-venv;" \
        "where that is older or newer: uv python install 3.12 (uv: docs.astral.sh/uv), then the same command again"
}

set_up() {                              # make .venv, once per state of the lock
    local lock=$here/requirements-wsl.txt stamp=$venv/requirements-wsl.txt base
    if ! "$python" -c 'import filelock' 2>/dev/null; then     # none, or the system's Python is another since
        [[ $here != *:* ]] || fail 78 "no Python environment works in a path with a colon; move $here"
        base=$(find_python)
        say "making the environment .venv with $("$base" --version) (once, about a minute)"
        "$base" -m venv --clear "$venv" \
            || fail 1 "$venv could not be made, see above; mend that, then the same command again"
    elif cmp -s "$lock" "$stamp"; then
        return
    fi
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock" \
        || fail 1 "the packages of requirements-wsl.txt did not install; check the network, then the same command again"
    cp "$lock" "$stamp"
}

settings() {                            # the flags; sets FACESETS_... and WIN_VENV, also for the steps; never the key
    local assignments
    assignments=$("$python" "$here/config.py" --shell "$@")
    set -a
    eval "$assignments"
    set +a
    win_python=$WIN_VENV/Scripts/python.exe
    win_home=$WIN_VENV/face-sets
}

windows_path() {                        # wslpath wants a path that exists, so the end of it is added here
    local folder part
    folder=$(wslpath -w "$WIN_VENV") || fail 78 "$WIN_VENV has no Windows path; set WIN_VENV to a folder on a drive"
    for part in "$@"; do folder+=\\$part; done
    printf '%s\n' "$folder"
}

carry_model() {                         # dry-run prefix; sets windows_flags, what the worker there is told
    local run=$1 model=$FACESETS_MODEL pack
    for pack in "$model" "$FACESETS_DATA_ROOT/models/$model" ~/.insightface/models/"$model"; do
        [[ -d $pack ]] || continue
        $run carry pack "$pack" "$win_home/models/$(basename -- "$pack")"
        [[ $pack != "$model" ]] || model=$(windows_path face-sets models "$(basename -- "$pack")")
        break
    done                                # a named pack that is not here is fetched there
    mapfile -t windows_flags <<<"$(FACESETS_MODEL=$model "$python" "$here/config.py" --worker-flags)"
    windows_flags+=(--models-dir "$(windows_path face-sets models)")
}

choose_side() {                         # what was asked for; sets side and why
    local ready=no set_up_first="bash finalize_immich.sh --setup-windows"
    if command -v wslpath >/dev/null && [[ -f $win_python ]]; then ready=yes; fi
    if [[ -z $1 && -n $FACESETS_SCHEDULER ]]; then
        side=engine why="--scheduler $FACESETS_SCHEDULER"
        return
    fi
    FACESETS_SCHEDULER=''               # of .env: what is typed wins
    case $1-$ready in
        local-*) side=local why="--local" ;;
        windows-yes) side=windows why="--windows" ;;
        windows-no) fail 78 "--windows: there is no Windows environment in $WIN_VENV; first: $set_up_first" ;;
        -yes) side=windows why="it is set up in $WIN_VENV; --local embeds here" ;;
        -no) side=local why="no Windows environment in $WIN_VENV"
            if command -v wslpath >/dev/null; then why+="; for its graphics card: $set_up_first"; fi ;;
    esac
}

ended() {                               # a step's name and status: what to do now, and our own status
    case $2 in
        2) fail 2 "$1 paused, everything is saved; go on with: $again" ;;
        1 | 64 | 77 | 78) fail "$2" "$1 failed with status $2 (see above, or the logs in ${there:-${queue%/*}});" \
            "mend that, then go on with: $again" ;;
        *) fail 1 "$1 was ended from outside (status $2); go on with: $again" ;;
    esac
}

embed() {                               # the worker's command; after a crash again, which leaves the photo out
    local status tries stopped=''
    trap 'stopped=yes' INT              # Windows ends a program with a status of its own then
    for tries in 1 2 3 4 5 6 7; do
        status=0
        $run "$@" || status=$?
        [[ -z $stopped || $status == 0 ]] || status=2
        case $status in                 # memory faults and the like; Windows' codes arrive modulo 256
            0) trap - INT; return ;;
            5 | 9 | 132 | 134 | 135 | 136 | 139)
                say "embedding crashed (status $status, time $tries); everything is saved" ;;
            *) break ;;
        esac
    done
    ended "embedding" "$status"
}

embed_here() {
    local cuda='import onnxruntime, sys; sys.exit("CUDAExecutionProvider" not in onnxruntime.get_available_providers())'
    carry check "$queue" "$cache"
    if [[ $side == engine && -n $run ]]; then
        "$python" -m facesets.embed.machines "$FACESETS_SCHEDULER" "$FACESETS_SCHEDULER_TLS"
    fi
    if command -v nvidia-smi >/dev/null && ! "$python" -c "$cuda"; then
        say "note: there is an NVIDIA card, but .venv's onnxruntime does not use it; docs/linux.md says which one does"
    fi
    embed "$python" "$here/embed_worker.py" --queue "$queue" --out "$cache"
}

embed_on_windows() {
    local there=$win_home/$user
    cmp -s "$here/requirements-win.txt" "$WIN_VENV/requirements-win.txt" \
        || fail 78 "the Windows packages are not those of requirements-win.txt; bash finalize_immich.sh --setup-windows"
    carry check "$queue" "$cache" --windows "$win_python" --there "$there" --shares "$FACESETS_WINDOWS_SHARES"
    $run carry worker "$here" "$win_home/worker"
    carry_model "$run"
    $run carry forth "$queue" "$cache" "$there" --shares "$FACESETS_WINDOWS_SHARES"
    embed "$win_python" -X utf8 -u "$(windows_path face-sets worker embed_worker.py)" \
        --queue "$(windows_path face-sets "$user" queue.json)" \
        --out "$(windows_path face-sets "$user" "$(basename -- "$cache")")" "${windows_flags[@]}"
    $run carry back "$queue" "$cache" "$there"
}

finalize() {                            # user, side asked for, dry-run prefix ("" or would)
    umask 077
    local user=$1 run=$3 side why windows_flags=()
    local queue=$FACESETS_DATA_ROOT/immich/$user/queue.json cache=$FACESETS_DATA_ROOT/cache/immich_$user.npz
    [[ -f $queue ]] || fail 1 "$queue is missing; first: python immich_stage.py --user $user"
    choose_side "$2"
    if [[ -z $run ]]; then
        exec 9>>"$FACESETS_DATA_ROOT/immich/finalize.lock"  # held by us and by all that we start
        carry lock 9 "finalize_immich.sh $user"
    fi
    say "embedding on the $side side: $why"
    if [[ $side == windows ]]; then embed_on_windows; else embed_here; fi
    $run "$python" "$here/cluster_immich.py" --user "$user" || ended "clustering" $?
    if [[ -n $run || -d $FACESETS_LIBRARY ]]; then
        $run "$python" "$here/sort_faces.py" report || ended "the report" $?
    fi
    say "facesets: $FACESETS_LIBRARY"
}

main() {
    local user='' asked='' run='' action='' flags=()
    printf -v again ' %q' "$@"
    again="bash finalize_immich.sh$again"
    while (($#)); do
        case $1 in
            --demo | --setup | --setup-windows) action=$1 ;;
            --dry-run) run=would ;;
            --local | --windows)
                [[ -z $asked || --$asked == "$1" ]] || fail 64 "either --local or --windows"
                asked=${1#--} ;;
            -h | --help) sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p;}' "$here/finalize_immich.sh"; exit 0 ;;
            --version) sed -n 's/^version = "\(.*\)"/face-sets \1/p' "$here/pyproject.toml"; exit 0 ;;
            --*=*) flags+=("$1") ;;
            --*) [[ $# -gt 1 ]] || fail 64 "unknown option $1, or its value is missing; --help is the manual"
                flags+=("$1" "$2"); shift ;;
            -*) fail 64 "unknown option $1; --help is the manual" ;;
            *) [[ -z $user ]] || fail 64 "one user at a time; --help is the manual"; user=$1 ;;
        esac
        shift
    done
    [[ -z $asked || " ${flags[*]}" != *" --scheduler"[=\ ]* ]] || fail 64 "either --$asked or --scheduler"
    [[ -n $user$action ]] || fail 64 "usage: bash finalize_immich.sh NAME | --demo | --setup"
    [[ -n $action || $user =~ ^[a-z0-9][a-z0-9_-]{0,31}$ ]] \
        || fail 64 "$(printf %q "$user") is no user label: 1 to 32 of a-z, 0-9, - and _, a letter or digit first"
    set_up
    [[ $action != --demo || -z "${flags[*]}" ]] || fail 64 "--demo takes no settings"
    case $action in
        --demo) exec "$python" -m facesets.demo.run ;;
        --setup) say "ready: source .venv/bin/activate" ;;
        --setup-windows)
            settings "${flags[@]}"
            # shellcheck source=/dev/null
            source "$here/facesets/windows/setup.sh"
            set_up_windows ;;
        *)  settings "${flags[@]}"
            finalize "$user" "$asked" "$run" ;;
    esac
    exit                                # bash reads a script while it runs, and an update may have replaced it by now
}

main "$@"

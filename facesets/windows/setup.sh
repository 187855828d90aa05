# The Windows side, once: `bash finalize_immich.sh --setup-windows` reads this file, from WSL. Repeatable.
# Makes WIN_VENV with the packages of requirements-win.txt, carries worker and model there, runs the worker's --doctor.
# shellcheck shell=bash disable=SC2154     # here, win_python, win_home and windows_flags are finalize_immich.sh's

windows_program() {                     # a program of Windows itself, with or without Windows' PATH
    command -v "${1##*/}" || wslpath -u "C:/Windows/System32/$1"
}

find_windows_python() {                 # the command line of cmd.exe that starts a fitting Python there
    local candidate fits="import sys,struct;sys.exit(sys.version_info[1]not in range(11,15)or struct.calcsize('P')!=8)"
    for candidate in 'py -3.'{12,13,14,11} python3.{12,13,14,11} python; do
        # shellcheck disable=SC2086     # two words on purpose
        if "$cmd" /c $candidate -c "$fits" >/dev/null 2>&1 </dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail 78 "Windows has no 64-bit Python 3.11 to 3.14; in a Windows terminal:" \
        "winget install --exact --id Python.Python.3.12 --scope user; then the same command again"
}

set_up_windows() {
    local cmd powershell base private lock=$here/requirements-win.txt stamp=$WIN_VENV/requirements-win.txt
    command -v wslpath >/dev/null || fail 78 "--setup-windows: this is no WSL; docs/linux.md says how to work without"
    [[ -d $(dirname -- "$WIN_VENV") ]] || fail 78 "WIN_VENV is $WIN_VENV, but that drive is not mounted here;" \
        "C: is $(wslpath -u C:/ 2>/dev/null || echo "not mounted (see automount in /etc/wsl.conf)")"
    cmd=$(windows_program cmd.exe)
    powershell=$(windows_program WindowsPowerShell/v1.0/powershell.exe)
    umask 077
    cd -- "$(dirname -- "$WIN_VENV")" || exit     # cmd.exe cannot start in a folder of Linux

    mkdir -p -- "$win_home"
    private=$(windows_path face-sets)   # C:\ lets every user of the machine read what is made in it
    "$powershell" -NoProfile -Command "icacls '${private//\'/\'\'}' /inheritance:r /grant:r \
        \"*\$([Security.Principal.WindowsIdentity]::GetCurrent().User.Value):(OI)(CI)F\"" >/dev/null </dev/null \
        || say "note: other users of this Windows may be able to read $win_home (icacls refused)"
    carry worker "$here" "$win_home/worker"

    if ! "$win_python" -c 'import sys; sys.exit(sys.version_info[1] not in range(11, 15))' 2>/dev/null </dev/null; then
        base=$(find_windows_python)
        say "making the Windows environment $WIN_VENV with $base"
        if [[ -f $WIN_VENV/pyvenv.cfg ]]; then      # the rests of one whose Python is gone; models stay
            rm -rf -- "${WIN_VENV:?}"/{Lib,Scripts,Include,pyvenv.cfg,requirements-win.txt}
        fi
        # shellcheck disable=SC2086     # two words on purpose
        "$cmd" /c $base -m venv "$(windows_path)" </dev/null || fail 1 "Windows could not make $WIN_VENV"
    fi
    if ! cmp -s "$lock" "$stamp"; then
        say "installing the Windows packages (once, some minutes)"
        rm -f -- "$stamp"               # two builds of one module overwrite each other, so all of them go first
        "$win_python" -m pip uninstall --quiet --yes \
            onnxruntime onnxruntime-gpu onnxruntime-directml onnxruntime-windowsml onnxruntime-openvino \
            opencv-python opencv-python-headless opencv-contrib-python opencv-contrib-python-headless </dev/null
        "$win_python" -m pip install --disable-pip-version-check --no-input --no-deps --only-binary :all: \
            --require-hashes -r "$(windows_path face-sets worker requirements-win.txt)" </dev/null \
            || fail 1 "the packages of requirements-win.txt did not install there; the same command goes on"
        cp -- "$lock" "$stamp"
    fi
    carry_model ''
    "$win_python" -X utf8 -u "$(windows_path face-sets worker embed_worker.py)" --doctor "${windows_flags[@]}" \
        </dev/null || fail 1 "the self-test of the Windows side failed, see above; mend that, then the same command"
    say "the Windows side is ready in $WIN_VENV; bash finalize_immich.sh NAME will use it"
}

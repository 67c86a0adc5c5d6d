# shellcheck shell=sh
# Shared by the default scripts: folders, log, durable files, one run at a time.
#
# In:  APPLIANCE_ADMIN (the admin directory A), APPLIANCE_UPLOADS (the hand-over folder), APPLIANCE_APPLY (0 or 1),
#      APPLIANCE_PYTHON and APPLIANCE_TOOLS (the stand-alone programs), APPLIANCE_ROOT (where system files are installed;
#      with anything but / no command that changes the live system is run).
# A script stops at the first step that fails (set -e). Words are never built into commands: no eval, no sourcing of data.
# The variables set here are used by the scripts that source this file.
# shellcheck disable=SC2034

set -eu
umask 077

admin=${APPLIANCE_ADMIN:?is not set}
uploads=${APPLIANCE_UPLOADS:-$admin/uploads}
etc=$admin/etc
logs=$admin/log
tmp=$admin/tmp
apply=${APPLIANCE_APPLY:-0}
python=${APPLIANCE_PYTHON:-python3}
tools=${APPLIANCE_TOOLS:-$(dirname "$0")/../../appliance/admin/tools}
root=${APPLIANCE_ROOT:-/}
root=${root%/}
log_file=

mkdir -p "$etc" "$logs" "$tmp" "$uploads"

# A prefix that lets a helper process die with the script, so that nothing goes on writing after a kill -9 (prctl(2),
# PR_SET_PDEATHSIG). It stands unquoted before a command: a function would put a shell between the two.
if command -v setpriv >/dev/null 2>&1 && setpriv --pdeathsig KILL true 2>/dev/null; then
    bound='setpriv --pdeathsig KILL'
else
    bound=
fi

# log TEXT: one line in the script's log.
log() {
    printf '[%s][SYSTEM] %s\n' "$(date +%s)" "$1" >>"$log_file"
}

# log_output FILE: what a program said, at most five lines of it, without control characters.
log_output() {
    [ -s "$1" ] || return 0
    head -c 4096 -- "$1" | tr -c '[:print:]\n' '?' | cut -c 1-300 | head -n 5 | while IFS= read -r output_line; do
        log "$output_line"
    done
}

# bound_log: what outgrew 4 MiB goes to one older file beside.
bound_log() {
    if [ -f "$log_file" ] && [ "$(stat -c %s -- "$log_file")" -gt 4194304 ]; then
        mv -f -- "$log_file" "$log_file.1"
    fi
}

# complain TEXT: the reason of a failure, for whoever started the script.
complain() {
    printf '%s\n' "$1" >&2
}

# write_file PATH MODE: standard input becomes the file, whole or not at all, on the disk before this returns.
# The temporary name is fixed: a killed run leaves no litter that grows. Callers hold the script's lock.
write_file() {
    cat >"$1.new"
    chmod "$2" "$1.new"
    sync -- "$1.new"
    mv -f -- "$1.new" "$1"
    sync -- "$(dirname "$1")"
}

# take_lock NAME SECONDS: one run at a time; fails where another holds it that long. The lock is descriptor 9.
# The short wait covers the moment in which the helpers of a killed run go away.
take_lock() {
    exec 9>>"$tmp/$1.lock"
    flock -w "$2" 9
}

# tool PROGRAM ARG…: one of the stand-alone programs. For calls that need no bound life.
tool() {
    tool_name=$1
    shift
    "$python" -I -S "$tools/$tool_name" "$@"
}

# first_line FILE: without the line end; empty where there is none.
first_line() {
    [ -f "$1" ] || return 0
    head -n 1 -- "$1" | tr -d '\r\n'
}

# live: whether commands that change the running system are allowed.
live() {
    [ "$apply" = 1 ] && [ -z "$root" ]
}

# What neither a backup nor a collection of logs ever holds; the same names as in restore.py.
secret_names='api.token* *.key *.private.pem updates.pub license.pub'

# pack_logs FILE: A/log and the paths of A/etc/logs.txt as a compressed archive. What changes or vanishes while it is read
# is no failure.
pack_logs() (
    packed=$1
    list=$1.list
    : >"$list"
    if [ -f "$etc/logs.txt" ]; then
        while IFS= read -r entry || [ -n "$entry" ]; do
            entry=$(printf '%s' "$entry" | tr -d '\r')
            case $entry in
                '' | '#'*) continue ;;
                .. | ../* | */.. | */../*) continue ;;
                /*) ;;
                *) entry=$admin/$entry ;;
            esac
            if [ -e "$entry" ]; then
                printf '%s\n' "${entry#/}" >>"$list"
            fi
        done <"$etc/logs.txt"
    fi
    set -f
    set -- --ignore-case
    for secret in $secret_names; do
        set -- "$@" --exclude="$secret"
    done
    tar --create --gzip --file="$packed" --warning=no-file-changed --warning=no-file-removed --ignore-failed-read "$@" \
        --directory="$admin" log --directory=/ --verbatim-files-from --files-from="$list" 2>/dev/null ||
        [ "$?" = 1 ]
    rm -f -- "$list"
)

# shellcheck shell=sh
# System files of the settings and storage scripts: staged in A/staged, which mirrors absolute paths, and installed below
# APPLIANCE_ROOT when [admin] apply is on. Needs lib.sh. Lists of what is ours lie in A/staged/.NAME.*.
# shellcheck disable=SC2154

staged=$admin/staged

# stage_files NAME FOLDER: the rendered files take the place of those staged before.
stage_files() {
    mkdir -p "$staged"
    (cd -- "$2" && find . ! -type d | sed 's|^\./||' | LC_ALL=C sort) >"$staged/.$1.list.new"
    if [ -f "$staged/.$1.list" ]; then
        while IFS= read -r staged_file; do
            rm -f -- "$staged/$staged_file"
        done <"$staged/.$1.list"
    fi
    cp -R -P -p -- "$2/." "$staged/"
    mv -f -- "$staged/.$1.list.new" "$staged/.$1.list"
}

# kept_beside PATH: where the previous file is kept. Hidden in interfaces.d, of which ifupdown reads every visible file.
kept_beside() {
    case $1 in
        */interfaces.d/*) printf '%s/.%s.appliance-old\n' "${1%/*}" "${1##*/}" ;;
        *) printf '%s.appliance-old\n' "$1" ;;
    esac
}

# replace_by PATH SOURCE: SOURCE becomes PATH, whole or not at all; a link stays a link.
replace_by() {
    (umask 022 && mkdir -p -- "$(dirname "$1")") || return 1
    cp -P -p -- "$2" "$1.appliance-new" || return 1
    if [ ! -L "$1.appliance-new" ]; then
        sync -- "$1.appliance-new" || return 1
    fi
    mv -f -- "$1.appliance-new" "$1" || return 1
}

# keep_old PATH: what is there now stays beside; noted, so that roll_back_files finds it.
keep_old() {
    printf '%s\n' "$1" >>"$staged/.changed" || return 1
    old_file=$(kept_beside "$1")
    rm -f -- "$old_file" || return 1
    if [ -e "$1" ] || [ -L "$1" ]; then
        cp -P -p -- "$1" "$old_file" || return 1
    fi
}

same_file() {
    if [ -L "$1" ] || [ -L "$2" ]; then
        [ "$(readlink -- "$1")" = "$(readlink -- "$2")" ]
    else
        [ -f "$2" ] && cmp -s -- "$1" "$2"
    fi
}

# install_files NAME: the staged files go to the system; files of ours from an earlier run that are no longer wanted
# go. Files that belong to the system itself are changed, never removed.
install_files() {
    : >"$staged/.changed" || return 1
    while IFS= read -r wanted_file; do
        same_file "$staged/$wanted_file" "$root/$wanted_file" && continue
        keep_old "$root/$wanted_file" || return 1
        replace_by "$root/$wanted_file" "$staged/$wanted_file" || return 1
        log "Installed $root/$wanted_file"
    done <"$staged/.$1.list"
    [ -f "$staged/.$1.installed" ] || return 0
    while IFS= read -r former_file; do
        case $former_file in
            etc/fstab | etc/hosts | etc/hostname | etc/resolv.conf | etc/network/*) continue ;;
        esac
        if grep -q -x -F -e "$former_file" -- "$staged/.$1.list" || [ ! -e "$root/$former_file" ]; then
            continue
        fi
        keep_old "$root/$former_file" || return 1
        rm -f -- "$root/$former_file" || return 1
        log "Removed $root/$former_file"
    done <"$staged/.$1.installed"
}

# keep_files NAME: the installed files are good.
keep_files() {
    cp -- "$staged/.$1.list" "$staged/.$1.installed"
    rm -f -- "$staged/.changed"
}

# roll_back_files: every file that install_files changed is what it was.
roll_back_files() {
    [ -f "$staged/.changed" ] || return 0
    while IFS= read -r changed_file; do
        old_file=$(kept_beside "$changed_file")
        if [ -e "$old_file" ] || [ -L "$old_file" ]; then
            replace_by "$changed_file" "$old_file" || log "Cannot bring back $changed_file"
        else
            rm -f -- "$changed_file"
        fi
    done <"$staged/.changed"
    rm -f -- "$staged/.changed"
}

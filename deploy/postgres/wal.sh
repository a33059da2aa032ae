# shellcheck shell=bash
# WAL files in the store: which there are, on which timeline, and which moments they hold. Sourced after lib.sh.
#
# A file's name is its timeline and its number. After a restore a new timeline begins, whose history names the place where it
# left the one before.

# Without it each file would look like one that has no transaction.
command -v pg_waldump >/dev/null || fail 'pg_waldump is not on the path'

# Of `load_wal`: the folder, the timeline, and the number of its last file.
WAL_FOLDER='' WAL_TIMELINE=1 WAL_END=0
# By number: names in the store, of the timeline that is valid there.
declare -A WAL_NAMES=()
# Timelines that lead to it, the oldest first, with the number of their first file.
WAL_PATH=(1) WAL_PATH_BEGINS=(0)
# Of `span_from`: numbers of the first and the last file without a gap, and the name of the one that is missing behind it.
WAL_FIRST=0 WAL_LAST=0 WAL_GAP=''

# Files have 16 MiB: the last eight digits of a name count to FF. Results are in REPLY, since a process for each of many thousand
# files takes minutes.
wal_number() { REPLY=$((16#${1:8:8} * 256 + 16#${1:16:8})); }
timeline_at() { # timeline_at NUMBER: the timeline that is valid there
  local i
  for ((i = ${#WAL_PATH[@]} - 1; i > 0; i--)); do
    (($1 < WAL_PATH_BEGINS[i])) || break
  done
  REPLY=${WAL_PATH[i]}
}

is_on_path() { # is_on_path NAME: a file of a timeline that leads to the one of `load_wal`
  wal_number "$1"
  timeline_at "$REPLY"
  ((16#${1:0:8} == REPLY))
}

read_path() { # read_path TIMELINE: fills WAL_PATH
  local timeline place history begin=0
  WAL_PATH=() WAL_PATH_BEGINS=()
  if (($1 > 1)); then
    history=$(explained backrest_files repo-get "archive/$STANZA/$WAL_FOLDER/$(printf '%08X' "$1").history") || return
    while read -r timeline place _; do
      [[ $timeline =~ ^[0-9]+$ ]] || continue
      WAL_PATH+=("$timeline") WAL_PATH_BEGINS+=("$begin")
      begin=$((16#${place%/*} * 256 + (16#${place#*/} >> 24)))
    done <<<"$history"
  fi
  WAL_PATH+=("$1") WAL_PATH_BEGINS+=("$begin")
}

# Reads which files there are of the cluster of the newest backup, on its timeline or another one.
load_wal() { # load_wal BACKUPS [TIMELINE]
  local files name
  WAL_FOLDER=$(archive_id "$(jq '.[-1].database.id' <<<"$1")") || return
  name=$(jq --raw-output '.[-1].archive.stop' <<<"$1")
  WAL_TIMELINE=${2:-$((16#${name:0:8}))}
  files=$(explained backrest_files repo-ls --recurse --output=json --filter='/[0-9A-F]{24}-[0-9a-f]{40}' "archive/$STANZA/$WAL_FOLDER") || return
  files=$(jq --raw-output 'keys[]' <<<"$files")
  read_path "$WAL_TIMELINE" || return
  WAL_NAMES=() WAL_END=0
  while read -r name; do
    [[ $name == */* ]] || continue
    name=${name#*/}
    is_on_path "$name" || continue
    wal_number "$name"
    WAL_NAMES[$REPLY]=$name
    ((REPLY <= WAL_END)) || WAL_END=$REPLY
  done <<<"$files"
}

span_from() { # span_from NAME: the files from this one to the first gap
  wal_number "$1"
  WAL_FIRST=$REPLY WAL_LAST=$((REPLY - 1)) WAL_GAP=
  while [[ -n ${WAL_NAMES[$((WAL_LAST + 1))]-} ]]; do WAL_LAST=$((WAL_LAST + 1)); done
  if ((WAL_LAST < WAL_END)); then
    timeline_at "$((WAL_LAST + 1))"
    WAL_GAP=$(printf '%08X%08X%08X' "$REPLY" "$(((WAL_LAST + 1) / 256))" "$(((WAL_LAST + 1) % 256))")
  fi
}

get_wal() { # get_wal NUMBER FOLDER: the file, decrypted, unpacked and compared with its checksum
  local stored=${WAL_NAMES[$1]} name sum
  name=${stored:0:24}
  [[ ! -e $2/$name ]] || return 0
  explained backrest_files repo-get "archive/$STANZA/$WAL_FOLDER/${stored:0:16}/$stored" | unpack "$stored" >"$2/$name.part" || {
    rm -f "$2/$name.part"
    echo "WAL file $name cannot be read: it is damaged, or the store does not respond" >&2
    return 1
  }
  sum=$(sha1sum <"$2/$name.part")
  [[ ${sum%% *} == "${stored:25:40}" ]] || {
    echo "WAL file $name is damaged: its checksum differs" >&2
    return 1
  }
  mv "$2/$name.part" "$2/$name"
}

unpack() { # unpack NAME
  case $1 in
  *.zst) zstd --decompress --quiet --stdout ;;
  *.gz) gzip --decompress --stdout ;;
  *.lz4) lz4 --decompress --quiet --stdout ;;
  *) cat ;;
  esac
}

# Prints the time of the last transaction of a file in microseconds; nothing if it has none.
last_commit() { # last_commit NUMBER FOLDER
  local time
  get_wal "$1" "$2" || return
  # A record that continues in the next file ends it with an error.
  time=$({ pg_waldump --rmgr=Transaction "$2/${WAL_NAMES[$1]:0:24}" 2>/dev/null || true; } |
    sed -nE 's/.* (COMMIT|ABORT) ([0-9-]+ [0-9:.]+) UTC.*/\2/p' | sort | tail -n 1)
  [[ -z $time ]] || microseconds "$time UTC"
}

# Prints the newest moment of the files from WAL_FIRST to WAL_LAST in microseconds.
newest_moment() { # newest_moment FOLDER
  local number time
  for ((number = WAL_LAST; number >= WAL_FIRST; number--)); do
    time=$(last_commit "$number" "$1") || return
    if [[ -n $time ]]; then
      echo "$time"
      return
    fi
  done
}

# Prints the number of the first file whose last transaction is later than a moment. Transactions are ordered.
file_after() { # file_after MICROSECONDS FOLDER
  local low=$WAL_FIRST high=$WAL_LAST middle at time
  while ((low < high)); do
    middle=$(((low + high) / 2))
    # A file without a transaction is as late as the one before it.
    for ((at = middle; at >= low; at--)); do
      time=$(last_commit "$at" "$2") || return
      [[ -z $time ]] || break
    done
    if [[ -n $time ]] && ((time > $1)); then high=$middle; else low=$((middle + 1)); fi
  done
  echo "$low"
}

# Prints the moments that can be restored: those for which each file is there, then the older backups by themselves.
list_moments() { # list_moments BACKUPS
  local scratch newest oldest start number
  load_wal "$1" || return
  span_from "$(jq --raw-output '.[-1].archive.start' <<<"$1")"
  scratch=$(mktemp -d "$BACKUP_TMP/moments.XXXXXX")
  newest=$(newest_moment "$scratch") || return
  rm -rf "$scratch"
  number=$WAL_FIRST
  while [[ -n ${WAL_NAMES[$((number - 1))]-} ]]; do number=$((number - 1)); done
  while read -r start oldest; do
    wal_number "$start"
    ((REPLY < number)) || break
  done < <(jq --raw-output '.[] | "\(.archive.start) \(.timestamp.stop)"' <<<"$1")
  echo "any moment from $(date --date="@$((oldest + 1))" '+%Y-%m-%d %H:%M:%S+00') to ${newest:+$(as_time "$newest")}"
  [[ -z $WAL_GAP ]] || echo "WAL file $WAL_GAP is missing in the store"
}

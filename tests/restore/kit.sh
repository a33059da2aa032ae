# shellcheck shell=bash
# Servers and helpers of `tests/restore/run`: an S3 server over TLS, a cluster with the scripts of production, and checks.

work=$(mktemp -d "${TMPDIR:-/var/tmp}/groundwork-restore-XXXXXX")
chmod 755 "$work"
pids=()
passed=0 failed=0

as_owner() { # PostgreSQL refuses to run as root
  if ((EUID == 0)); then setpriv --reuid="$ACCOUNT" --regid="$(id -g "$ACCOUNT")" --init-groups -- "$@"; else "$@"; fi
}

run_as_owner() { # the same instead of this shell, so that its process id is that of the command
  if ((EUID == 0)); then exec setpriv --reuid="$ACCOUNT" --regid="$(id -g "$ACCOUNT")" --init-groups -- "$@"; else exec "$@"; fi
}

clean() {
  local pid
  trap '' INT TERM
  for pid in "${pids[@]}" $(cat "$work"/*.pid 2>/dev/null); do kill -CONT "$pid" 2>/dev/null; kill "$pid" 2>/dev/null; done
  stop_database KILL
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

check() { # check TITLE FUNCTION: in a shell of its own; what it prints last is its figure or its fault
  local began=$SECONDS output status
  # ONLY is a pattern of titles; everything needs the first one.
  [[ -z ${ONLY-} || $1 =~ $ONLY || $1 == *'by itself' ]] || return 0
  output=$("$2" 2>&1)
  status=$?
  if ((status == 0)); then
    passed=$((passed + 1))
    printf 'ok    %s%s  (%ds)\n' "$1" "${output:+: $(tail -n 1 <<<"$output")}" "$((SECONDS - began))"
  else
    failed=$((failed + 1))
    printf 'FAIL  %s  (%ds)\n' "$1" "$((SECONDS - began))"
    tail -n 40 <<<"$output" | sed 's/^/      /'
  fi
  return "$status"
}

fail() { echo "$*"; exit 1; }
is() { [[ $2 == "$3" ]] || fail "$1 is '$2' and should be '$3'"; }

within() { # within SECONDS COMMAND…: until it succeeds
  local until=$((SECONDS + $1))
  while ! "${@:2}" >/dev/null 2>&1; do
    ((SECONDS < until)) || fail "not within $1 s: ${*:2}"
    sleep 0.2
  done
}

refuses() { # refuses SENTENCE COMMAND…: fails with a line that has it
  local output
  output=$("${@:2}" 2>&1) && fail "it succeeds: $output"
  grep -qF -- "$1" <<<"$output" || fail "it says: $output"
}

milliseconds_since() { echo "$(((${EPOCHREALTIME/./} - ${1/./}) / 1000))"; }

free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

# --- the store -------------------------------------------------------------------------------------

make_certificate() { # pgBackRest compares names only, also where they are addresses; the service does not
  cd "$work" || exit
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=authority' \
    -keyout authority.key -out authority.pem 2>/dev/null &&
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=store' -keyout store.key -out store.csr 2>/dev/null &&
    openssl x509 -req -days 2 -in store.csr -CA authority.pem -CAkey authority.key -CAcreateserial -out store.pem \
      -extfile <(printf 'subjectAltName=DNS:127.0.0.1,DNS:store,IP:127.0.0.1') 2>/dev/null
}

start_store() {
  "$GROUNDWORK_DEV" s3 --listen "127.0.0.1:$BACKUP_PORT" --directory "$work/store" --bucket backups \
    --certificate "$work/store.pem" --key "$work/store.key" >>"$work/store.log" 2>&1 &
  pids+=($!)
  echo $! >"$work/store.pid"
  # It is killed on purpose: the shell need not report it.
  disown
  within 10 bash -c "exec 3<>/dev/tcp/127.0.0.1/$BACKUP_PORT"
}
stop_store() { kill -"${1:-KILL}" "$(<"$work/store.pid")"; }

# --- the cluster -----------------------------------------------------------------------------------

start_database() { # start_database DIRECTORY
  (run_as_owner env PGDATA="$1" "$LIB/start" -c listen_addresses=127.0.0.1 -c port="$PGPORT" >>"$work/postgres.log" 2>&1) &
  disown
  echo "$1" >"$work/data"
  within 30 as_owner pg_isready --quiet --host="$BACKUP_RUN" --port="$PGPORT"
}
stop_database() { # stop_database [SIGNAL]
  local data pid children=()
  data=$(cat "$work/data" 2>/dev/null) && pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || return 0
  # Its children would end by themselves, a little later.
  [[ ${1-} != KILL ]] || mapfile -t children < <(pgrep -P "$pid")
  kill -"${1:-INT}" "$pid" "${children[@]}" 2>/dev/null
  gone "$pid"
}

start_schedule() {
  (run_as_owner env PGDATA="$(<"$work/data")" "$LIB/schedule" >>"$work/schedule.log" 2>&1) &
  pids+=($!)
  echo $! >"$work/schedule.pid"
}
stop_schedule() {
  kill "$(<"$work/schedule.pid")" 2>/dev/null
  gone "$(<"$work/schedule.pid")"
}
gone() { while kill -0 "$1" 2>/dev/null && [[ $(ps -o stat= -p "$1") != Z* ]]; do sleep 0.1; done; }

sql() { as_owner psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --host="$BACKUP_RUN" --port="$PGPORT" --username=app_owner --dbname=app "${@:2}" --command="$1"; }
backup() { as_owner env PGDATA="$(<"$work/data")" "$LIB/backup" "$@"; }
fetch() { as_owner "$LIB/fetch" "$@"; }
recover() { as_owner env -u PGPORT REQUIRE_NO_NETWORK="$ISOLATED" ${ISOLATED:+unshare --map-current-user --net} "$LIB/recover" "$@"; }
fresh() { # fresh NAME: an empty directory
  rm -rf "$work/clusters/$1"
  as_owner mkdir -p -m 0700 "$work/clusters/$1"
  echo "$work/clusters/$1"
}
now() { sql "SELECT clock_timestamp() AT TIME ZONE 'UTC' || '+00'"; }

# Puts all that is committed into the store, and a later transaction as well.
archive() {
  local file
  sql 'SELECT pg_current_xact_id()' >/dev/null
  file=$(sql 'SELECT pg_walfile_name(pg_switch_wal())')
  within 60 is_archived "$file"
}
is_archived() { [[ ! $(sql "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") < $1 ]]; }

# A checksum of the rows of each table.
contents() {
  as_owner psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --host="$BACKUP_RUN" --port="$PGPORT" --username=app_owner --dbname=app <<'SQL'
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM %s t', name, name)
FROM (SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AS tables
ORDER BY name
\gexec
SQL
}

# shellcheck shell=bash
# The checks of `tests/restore/run`.

service() { # service COMMAND…: the binary of the service on the cluster
  env APP_ENV=development PUBLIC_URL="http://127.0.0.1:$HTTP_PORT" BIND_ADDR="127.0.0.1:$HTTP_PORT" \
    SMTP_URL=smtp://127.0.0.1:1 MAIL_FROM=restore@example.test LOG_LEVEL=warn \
    DATABASE_URL="postgres://app_runtime:secret@127.0.0.1:$PGPORT/app?sslmode=disable" \
    DATABASE_MIGRATION_URL="postgres://app_owner@127.0.0.1:$PGPORT/app?sslmode=disable" \
    JWT_SIGNING_KEYS=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 TOKEN_SECRET=ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8 \
    ENCRYPTION_KEYS=QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8 "$GROUNDWORK" "$@"
}
readonly PASSWORD='a horse, a battery and a staple'
migrate() { service migrate; }
add_users() {
  local name
  for name in "$@"; do
    service users create --email "$name@example.test" --verified <<<"$PASSWORD" >/dev/null || return
  done
}

makes_what_is_due() {
  within 120 test -s "$BACKUP_STATE/dump" || { tail -n 20 "$work/schedule.log"; exit 1; }
  archive
  within 120 test -s "$BACKUP_STATE/drill-succeeded" || { tail -n 20 "$work/schedule.log"; exit 1; }
  grep -o 'the drill succeeded in .*' "$work/schedule.log"
}

lists_and_verifies() {
  local list
  list=$(backup list 2>&1) || fail "$list"
  grep -qE '^[0-9]{8}-[0-9]{6}F +full ' <<<"$list" && grep -q '^any moment from ' <<<"$list" && grep -q '^dump/' <<<"$list" || fail "it lists: $list"
  backup verify || exit
  # Names and addresses of people, the passphrase, and words of every file of PostgreSQL.
  ! grep -rlE "ada@example.test|PGDMP|recovery_target|$(<"$BACKUP_SECRETS/passphrase")" "$work/store/backups" || fail 'the store has plaintext'
  [[ -n $(grep -rl '^Salted__' "$work/store/backups" | head -n 1) ]] || fail 'nothing is encrypted'
  echo "$(grep -c . <<<"$list") lines, everything valid"
}

restores_a_dump() {
  local dump
  dump=$(find "$work/store/backups" -name '*.dump.gpg' | head -n 1)
  # As by hand, on a machine with gpg and PostgreSQL alone.
  sql 'CREATE DATABASE by_hand' >/dev/null
  gpg --homedir "$(mktemp -d -p "$work")" --batch --quiet --pinentry-mode loopback --passphrase-file "$BACKUP_SECRETS/passphrase" --decrypt "$dump" 2>/dev/null |
    as_owner pg_restore --exit-on-error --host="$BACKUP_RUN" --port="$PGPORT" --username=app_owner --dbname=by_hand || fail 'it cannot be restored'
  is 'users in the dump' "$(as_owner psql -At --host="$BACKUP_RUN" --port="$PGPORT" --username=app_owner --dbname=by_hand --command='SELECT count(*) FROM users')" 2
  sql 'DROP DATABASE by_hand' >/dev/null
}

# As by hand, with pgBackRest alone and no script: docs/backups.md, By hand.
restores_by_hand() {
  local into hand
  into=$(fresh by-hand)
  cat >"$work/pgbackrest.conf" <<CONF
[global]
repo1-type=s3
repo1-path=/groundwork
repo1-s3-bucket=$BACKUP_BUCKET
repo1-s3-endpoint=$BACKUP_ENDPOINT
repo1-storage-port=$BACKUP_PORT
repo1-storage-ca-file=$BACKUP_SECRETS/store_ca
repo1-s3-region=us-east-1
repo1-s3-uri-style=path
repo1-s3-key=$(<"$BACKUP_SECRETS/access_key_id")
repo1-s3-key-secret=$(<"$BACKUP_SECRETS/secret_access_key")
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=$(<"$BACKUP_SECRETS/passphrase")
lock-path=$work/tmp/by-hand
log-level-file=off
[app]
pg1-path=$into
CONF
  chmod 0444 "$work/pgbackrest.conf"
  archive
  sleep 1
  hand=$(now)
  sleep 1
  sql 'SELECT pg_current_xact_id()' >/dev/null
  archive
  by_hand() { as_owner pgbackrest --config="$work/pgbackrest.conf" --stanza=app "$@"; }
  by_hand info | grep -q 'status: ok' || fail 'it is not listed'
  by_hand restore --type=time --target="$hand" --target-action=promote >"$work/hand.log" 2>&1 || { cat "$work/hand.log"; exit 1; }
  (run_as_owner postgres -D "$into" -c archive_mode=off -c listen_addresses='' -c port=5433 -c unix_socket_directories="$work/tmp" >>"$work/hand.log" 2>&1) &
  hand_sql() { as_owner psql -At --host="$work/tmp" --port=5433 --username=app_owner --dbname=app --command="$1"; }
  within 60 hand_is_promoted || exit
  is 'users restored by hand' "$(hand_sql 'SELECT count(*) FROM users')" 2
  kill -INT "$(head -n 1 "$into/postmaster.pid")"
}
hand_is_promoted() { [[ $(hand_sql 'SELECT pg_is_in_recovery()') == f ]]; }

writes_metrics() {
  local file=$BACKUP_METRICS/backup.prom name
  for name in backup_configured:1 'backup_last_success_timestamp_seconds{type="full"}:[1-9]' 'backup_last_success_timestamp_seconds{type="dump"}:[1-9]' \
    backup_wal_last_archived_timestamp_seconds:[1-9] backup_wal_volume_free_bytes:[1-9] restore_drill_success:1 \
    restore_drill_last_success_timestamp_seconds:[1-9] restore_drill_duration_seconds:[1-9]; do
    within 10 grep -q "^${name%:*} ${name##*:}" "$file" || { cat "$file"; exit 1; }
  done
  if command -v promtool >/dev/null; then promtool check metrics <"$file" || fail 'promtool complains'; fi
}

refuses_moments() {
  local scratch moment
  scratch=$(fresh refused)
  refuses 'is before the oldest backup, which was complete at' fetch --to '2020-01-01 00:00:00+00' --into "$scratch"
  refuses 'is in the future' fetch --to '2099-01-01 00:00:00+00' --into "$scratch"
  refuses 'has no zone' fetch --to '2026-11-21 14:03:07' --into "$scratch"
  for moment in yesterday '2026-13-45 14:03:07+00' '2026-11-21 14:03:07 CET' "2026-11-21 14:03:07+00'; DROP" now 20261121-140307; do
    refuses 'is not a moment' fetch --to "$moment" --into "$scratch"
  done
  refuses 'there is no backup 20200101-000000F' fetch --to 20200101-000000F --into "$scratch"
  # The next file is archived 55 s after this one.
  archive
  moment=$(now)
  refuses 'the newest moment that can be had is' fetch --to "$moment" --into "$scratch"
  [[ -z $(ls -A "$scratch") ]] || fail 'something was fetched'
}

refuses_directories() {
  refuses 'is not empty' fetch --to newest --into "$(<"$work/data")"
  refuses 'is not a directory' fetch --to newest --into "$work/nowhere"
  sql 'SELECT 1' >/dev/null || fail 'the database does not respond'
}

# restore_to MOMENT NAME: a fresh cluster; the lines of its report are left in $work/report.
restore_to() {
  fetch --to "$1" --into "$(fresh "$2")" >"$work/report" 2>&1 && recover --from "$work/clusters/$2" >>"$work/report" 2>&1 || {
    cat "$work/report"
    exit 1
  }
}

restores_a_dropped_table() {
  local moment began took
  add_users linus || exit
  contents >"$work/before"
  # The second before is a moment after the last change of any table.
  sleep 1
  moment=$(now)
  sleep 1
  sql 'DROP TABLE users CASCADE' >/dev/null 2>&1
  archive
  began=$EPOCHREALTIME
  restore_to "$moment" dropped
  took=$(milliseconds_since "$began")
  stop_database
  stop_schedule
  start_database "$work/clusters/dropped"
  contents >"$work/after"
  diff "$work/before" "$work/after" || fail 'rows differ'
  is 'users' "$(sql 'SELECT count(*) FROM users')" 3
  [[ -e $work/clusters/first/PG_VERSION ]] || fail 'the cluster of before is gone'
  # The cluster goes on from here, with a timeline of its own.
  start_schedule
  within 60 newest_backup_is_on 00000002
  echo "$(wc -l <"$work/before") tables are equal, restored and checked in $took ms"
}
newest_backup_is_on() { # newest_backup_is_on TIMELINE
  [[ $(backup list | grep '^[0-9]' | tail -n 1) == *" timeline $(printf %X $((16#$1))),"* ]]
}

# The service with an object store and a second place, both in the server of the backups.
with_files() { # with_files COMMAND…
  local url=https://127.0.0.1:$BACKUP_PORT
  SSL_CERT_FILE=$work/authority.pem \
    STORAGE_BUCKET=files STORAGE_ENDPOINT=$url STORAGE_ACCESS_KEY_ID=development STORAGE_SECRET_ACCESS_KEY=development-secret-key \
    STORAGE_COPY_BUCKET=files-copy STORAGE_COPY_ENDPOINT=$url STORAGE_COPY_ACCESS_KEY_ID=development \
    STORAGE_COPY_SECRET_ACCESS_KEY=development-secret-key service "$@"
}
finds_files() {
  local server object key
  with_files storage create-bucket >/dev/null || exit
  (with_files serve --no-worker >>"$work/service.log" 2>&1) &
  server=$!
  within 60 serves
  signs_in
  seq 1 5000 >"$work/numbers.txt"
  is 'the upload' "$(curl --silent --output "$work/file" --write-out '%{http_code}' --header "authorization: Bearer $(jq --raw-output .access_token "$work/body")" \
    --form "size=$(stat --format %s "$work/numbers.txt")" --form "file=@$work/numbers.txt;type=text/plain" "http://127.0.0.1:$HTTP_PORT/api/v1/files/upload")" 201
  # The binary is its child.
  pkill -P "$server"
  with_files storage copy >/dev/null || exit
  archive
  restore_to newest filed
  stop_database
  stop_schedule
  start_database "$work/clusters/filed"
  with_files storage verify --present-only | grep -q '^1 files .* 0 differ' || fail 'the object is not found'
  object=$(find "$work/store/files/files" -type f)
  key=${object#"$work/store/files/"}
  rm "$object"
  refuses "$(jq --raw-output .id "$work/file") $key: missing" with_files storage verify --present-only
  with_files storage restore >/dev/null || exit
  cmp "$object" "$work/numbers.txt" || fail 'other bytes came back'
  with_files storage verify | tail -n 1
  start_schedule
  within 1800 newest_backup_is_on_its_timeline
}

waiting() { find "$(<"$work/data")/pg_wal/archive_status" -name '*.ready' | wc -l; }
nothing_waits() { (($(waiting) == 0)); }

# Without this many files an hour of a database that writes little would not be over: one is filled by force each minute.
readonly FILES_OF_AN_HOUR=60
survives_an_outage() {
  local i most files=6 began took
  [[ -z $whole ]] || files=$FILES_OF_AN_HOUR
  archive
  sql 'CREATE TABLE IF NOT EXISTS filler (text text)' >/dev/null
  stop_store
  for ((i = 0; i < files; i++)); do
    sql "INSERT INTO filler SELECT repeat(md5(n::text), 20) FROM generate_series(1, 2000) n; SELECT pg_switch_wal()" >/dev/null || fail 'the database does not write'
  done
  most=$(waiting)
  ((most >= files)) || fail "$most files wait"
  within 10 grep -qE '^backup_wal_waiting_bytes [1-9]' "$BACKUP_METRICS/backup.prom"
  refuses 'the store does not respond' backup now
  start_store
  began=$EPOCHREALTIME
  within 300 nothing_waits
  took=$(milliseconds_since "$began")
  verify_order "$files"
  backup verify >/dev/null || fail 'it is not valid'
  echo "$most files waited and are archived in order $took ms after the store is back"
}

# verify_order COUNT: files of a timeline were written in the order of their names.
verify_order() {
  local files
  files=$(cd "$work/store/backups/groundwork/archive/app" && find . -name '0000000?0000*-*' -printf '%f %T@\n' | sort | tail -n "$1")
  is 'the order of the files' "$(sort -k 2n <<<"$files")" "$files"
}

survives_a_full_store() {
  local i users
  archive
  users=$(sql 'SELECT count(*) FROM users')
  sql 'CREATE TABLE IF NOT EXISTS filler (text text)' >/dev/null 2>&1
  touch "$work/store/full"
  for i in 1 2 3; do
    sql "INSERT INTO filler SELECT 'full' FROM generate_series(1, 1000); SELECT pg_switch_wal()" >/dev/null || fail 'the database does not write'
  done
  refuses 'the store is full' backup now
  (($(waiting) >= 3)) || fail 'no WAL waits'
  within 20 grep -q 'the store is full' "$work/schedule.log"
  # What is in a full store can be read.
  backup list >/dev/null || fail 'it is not listed'
  restore_to newest full
  grep -qE " $users rows in public.users$" "$work/report" || fail "$(<"$work/report")"
  rm "$work/store/full"
  within 60 nothing_waits
  verify_order 3
  backup verify >/dev/null || fail 'it is not valid'
  echo '3 files waited; backups of before were restored meanwhile'
}

survives_a_slow_store() {
  local began=$EPOCHREALTIME
  stop_store STOP
  sql "INSERT INTO filler SELECT 'slow' FROM generate_series(1, 1000); SELECT pg_switch_wal()" >/dev/null || fail 'the database does not write'
  sleep 4
  sql "INSERT INTO filler VALUES ('slower')" || fail 'the database does not write'
  stop_store CONT
  within 60 nothing_waits
  archive
  echo "archived $(milliseconds_since "$began") ms later, with a store that hangs for 4 s"
}

names_wrong_secrets() {
  local wrong
  wrong=$(fresh wrong)
  with() { # with NAME VALUE COMMAND…: another secret
    rm -rf "$work/other" && cp -r "$BACKUP_SECRETS" "$work/other" && printf '%s' "$2" >"$work/other/$1"
    BACKUP_SECRETS=$work/other "${@:3}"
  }
  refuses 'the passphrase is not the one of the backups' with passphrase another fetch --to newest --into "$wrong"
  refuses 'the passphrase is not the one of the backups' with passphrase another backup list
  refuses 'the secret passphrase is missing' with passphrase '' fetch --to newest --into "$wrong"
  refuses 'the secret access_key_id is missing' with access_key_id '' fetch --to newest --into "$wrong"
  refuses 'the store refuses the key' with secret_access_key another fetch --to newest --into "$wrong"
  refuses "the store's certificate cannot be verified" with store_ca "$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=other -keyout /dev/null 2>/dev/null)" \
    fetch --to newest --into "$wrong"
  BACKUP_PORT=1 refuses 'the store does not respond' fetch --to newest --into "$wrong"
  [[ -z $(ls -A "$wrong") ]] || fail 'something was fetched'
  sql 'SELECT 1' >/dev/null
}

labels() { backup list | awk '$2 == "full" || $2 == "incr" { print $2 }' | paste -sd ' '; }
expires() {
  local before
  backup now >/dev/null && backup now full >/dev/null || exit
  before=$(labels)
  [[ $before == *'full incr full' ]] || fail "the backups are $before"
  backup expire || exit
  is 'what is left of new backups' "$(labels)" "$before"
  # As if all of them were older than the moments that are kept.
  BACKUP_MOMENT_DAYS=0 backup expire || exit
  is 'what is left of older ones' "$(labels)" "${before//incr /}"
  BACKUP_MOMENT_DAYS=0 BACKUP_WEEKLY_DAYS=0 backup expire || exit
  is 'what is left of a year' "$(labels)" full
  archive
  backup verify >/dev/null || fail 'it is not valid'
  restore_to newest expired
}

signs_in() {
  is 'the sign-in' "$(curl --silent --output "$work/body" --write-out '%{http_code}' --json "{\"email\":\"ada@example.test\",\"password\":\"$PASSWORD\"}" \
    "http://127.0.0.1:$HTTP_PORT/api/v1/auth/login")" 200
  is 'a signed-in read' "$(curl --silent --output /dev/null --write-out '%{http_code}' --header "authorization: Bearer $(jq --raw-output .access_token "$work/body")" \
    "http://127.0.0.1:$HTTP_PORT/api/v1/users/me")" 200
}
serves() { curl --silent --fail --output /dev/null "http://127.0.0.1:$HTTP_PORT/health/ready"; }

# one_loss RUN SECONDS: commits a row every 100 ms for a while, loses the cluster with its volume, restores it and signs in. Leaves
# what was lost and how long it took, in milliseconds, in $work/loss.
one_loss() {
  local last found lost began took data server
  sql 'CREATE TABLE IF NOT EXISTS beats (created_at timestamptz NOT NULL)' >/dev/null 2>&1
  : >"$work/beats"
  (while echo 'INSERT INTO beats VALUES (clock_timestamp()) RETURNING created_at AT TIME ZONE $$UTC$$;'; do sleep 0.1; done |
    as_owner psql --no-psqlrc --quiet --tuples-only --no-align --host="$BACKUP_RUN" --port="$PGPORT" --username=app_owner --dbname=app >"$work/beats" 2>/dev/null) &
  sleep "$2"
  data=$(<"$work/data")
  stop_database KILL
  stop_schedule
  rm -rf "${data:?}"
  # A row that was reported to the client was committed.
  last=$(tail -n 1 "$work/beats")
  began=$EPOCHREALTIME
  restore_to newest "lost-$1"
  start_database "$work/clusters/lost-$1"
  (service serve --no-worker >>"$work/service.log" 2>&1) &
  server=$!
  within 60 serves
  signs_in
  took=$(milliseconds_since "$began")
  # The binary is its child.
  pkill -P "$server"
  found=$(sql 'SELECT max(created_at) AT TIME ZONE $$UTC$$ FROM beats' 2>/dev/null)
  # Without any of its rows, everything since the newest transaction, or since the end of the backup, is lost.
  [[ -n $found ]] || found=$(sed -nE 's/.*newest transaction ([0-9-]+ [0-9:.]+).*/\1/p; s/^moment ([0-9-]+ [0-9:.]+).*the end of the backup;.*/\1/p' "$work/report" | head -n 1)
  lost=$((($(date --date="$last UTC" +%s%6N) - $(date --date="$found UTC" +%s%6N)) / 1000))
  echo "$lost $took" >"$work/loss"
  ((lost <= 120000)) || fail "$lost ms are lost"
  start_schedule
  within 1800 newest_backup_is_on_its_timeline
}
newest_backup_is_on_its_timeline() { newest_backup_is_on "$(printf %08X "$(sql 'SELECT timeline_id FROM pg_control_checkpoint()')")"; }

# The volume is lost right after a backup, before anything later is in the store.
restores_the_end_of_a_backup() {
  local users
  users=$(sql 'SELECT count(*) FROM users')
  # The next WAL file is archived a minute after this one.
  archive
  backup now >/dev/null || exit
  add_users margaret || exit
  restore_to newest end-of-backup
  grep -q 'no transaction after the newest backup is in the store' "$work/report" || fail "$(<"$work/report")"
  grep -qE "^ +$users rows in public.users$" "$work/report" || fail "$(<"$work/report")"
  sql "DELETE FROM users WHERE email LIKE 'margaret%'" >/dev/null
  sed -n 's/^moment/restored:/p' "$work/report"
}

loses_little() {
  local run runs=1 lost took losses=() times=()
  [[ -z $whole ]] || runs=5
  sql 'CREATE TABLE IF NOT EXISTS beats (created_at timestamptz NOT NULL)' >/dev/null 2>&1
  for ((run = 1; run <= runs; run++)); do
    one_loss "$run" "$((${whole:+55} + 10 + RANDOM % (${whole:+50} + 10)))"
    read -r lost took <"$work/loss"
    losses+=("$lost") times+=("$took")
  done
  echo "lost ${losses[*]} ms; signed in ${times[*]} ms after the command"
}

restores_two_gigabytes() {
  local lost took size began
  # The store joins the parts of large files in more than 5 s, and an upload that is completed twice is refused.
  stop_schedule
  export BACKUP_IO_TIMEOUT=60
  start_schedule
  sql "CREATE TABLE much AS SELECT n AS id, now() AS created_at,
    (SELECT string_agg(md5(n::text || m::text), '') FROM generate_series(1, 30) m) AS text FROM generate_series(1, 1900000) n" >/dev/null || exit
  size=$(sql "SELECT pg_size_pretty(pg_database_size('app'))")
  began=$EPOCHREALTIME
  backup now full >/dev/null || exit
  began=$(milliseconds_since "$began")
  archive
  one_loss much 10
  read -r lost took <"$work/loss"
  echo "$size: full backup in $began ms, signed in $took ms after the command, $lost ms lost"
}
takes_over() {
  local moment
  add_users barbara || exit
  sleep 1
  moment=$(now)
  sleep 1
  sql "DELETE FROM users WHERE email LIKE 'barbara%'" >/dev/null
  archive
  restore_to "$moment" later
  grep -q 'rows in public.users' "$work/report" || fail "$(<"$work/report")"
  is 'users at that moment' "$(sed -nE 's/ +([0-9]+) rows in public.users$/\1/p' "$work/report")" 4
  sed -n 's/^moment/restored:/p' "$work/report"
}

drill() { as_owner env PGDATA="$(<"$work/data")" "$LIB/drill"; }
drill_fails() { # drill_fails SENTENCE
  refuses "$1" drill
  within 10 grep -q '^restore_drill_success 0' "$BACKUP_METRICS/backup.prom"
  sql 'SELECT 1' >/dev/null || fail 'the database does not respond'
}

drill_finds_false_rows() {
  drill || fail 'it fails before'
  sql "CREATE TABLE IF NOT EXISTS beats (created_at timestamptz NOT NULL); INSERT INTO beats VALUES (now() + interval '1 hour')" >/dev/null 2>&1 || fail 'no row is written'
  archive
  drill_fails 'rows of public.beats were created after the moment'
  sql 'DELETE FROM beats' >/dev/null
  archive
}

wal_files() { find "$work/store/backups/groundwork/archive/app" -name '[0-9A-F]*-*.zst' -printf '%f %p\n' | sort | awk '{ print $2 }'; }
flip() { # flip FILE: a bit in the middle of it
  local at byte
  at=$(($(stat --format %s "$1") / 2))
  byte=$(od --address-radix=n --format=u1 --skip-bytes="$at" --read-bytes=1 "$1")
  printf '%b' "\\x$(printf %x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}

drill_finds_lost_wal() {
  local file
  archive
  sql 'SELECT pg_current_xact_id()' >/dev/null
  archive
  file=$(wal_files | tail -n 2 | head -n 1)
  mv "$file" "$work/kept"
  drill_fails "WAL file $(basename "$file" | cut -c 1-24) is missing in the store"
  refuses "$(basename "$file" | cut -c 1-24)" backup verify
  cp "$work/kept" "$file"
  flip "$file"
  drill_fails "WAL file $(basename "$file" | cut -c 1-24) "
  refuses 'backups are damaged' backup verify
  mv "$work/kept" "$file"
}

drill_finds_damage() {
  local file
  file=$(find "$work/store/backups/groundwork/backup/app/$(backup list | awk '$2 == "full" { label = $1 } END { print label }')" -path '*bundle*' -type f -size +1M | head -n 1)
  [[ -n $file ]] || fail 'there is no file to damage'
  cp "$file" "$work/kept"
  flip "$file"
  drill_fails 'damaged'
  refuses 'backups are damaged' backup verify
  mv "$work/kept" "$file"
  backup verify >/dev/null || fail 'it is not valid'
}

# shellcheck shell=bash
# Settings and functions that the scripts of the backups share. Sourced after `set -euo pipefail`.
#
# Every path comes from the environment, so that tests run these scripts without containers.

LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly LIB STANZA=app
: "${PGDATA:=/var/lib/postgresql/data}"
# Sockets of PostgreSQL, and names of WAL files that are in the store.
: "${BACKUP_RUN:=/var/run/postgresql}"
: "${BACKUP_SECRETS:=/run/secrets}"
# State that outlives the container, such as the time of the last drill.
: "${BACKUP_STATE:=/var/lib/backup}"
: "${BACKUP_METRICS:=/var/lib/host-metrics}"
: "${BACKUP_TMP:=/tmp}"
: "${DRILL_DIR:=/var/lib/drill}"
: "${BACKUP_BUCKET:=}" "${BACKUP_ENDPOINT:=}" "${BACKUP_PORT:=443}" "${BACKUP_REGION:=us-east-1}"
: "${BACKUP_URI_STYLE:=path}" "${BACKUP_PREFIX:=/groundwork}" "${BACKUP_STORE_LIMIT:=0}"
: "${BACKUP_PROCESSES:=2}" "${BACKUP_IO_TIMEOUT:=30}"
: "${POSTGRES_USER:=app_owner}" "${POSTGRES_DB:=app}"
# Labels of backups are local times.
export TZ=UTC LC_ALL=C.UTF-8 PGTZ=UTC
export PGHOST=$BACKUP_RUN PGUSER=$POSTGRES_USER PGDATABASE=$POSTGRES_DB PGAPPNAME=backup
unset PGSERVICE PGOPTIONS

# Names of WAL files that are in the store and that PostgreSQL has not removed yet.
readonly ARCHIVED=$BACKUP_RUN/archived

say() { printf '%s %s\n' "$(date +%Y-%m-%dT%H:%M:%SZ)" "$*"; }
fail() { # fail SENTENCE…: the reason on standard error, one line each
  printf '%s\n' "$@" >&2
  exit 1
}

is_configured() { [[ -n $BACKUP_BUCKET ]]; }

need_store() {
  is_configured || fail 'there are no backups: BACKUP_BUCKET is not set (docs/backups.md)'
  configure
}

secret() { # secret NAME: the content of the file
  local file=$BACKUP_SECRETS/$1
  [[ -s $file ]] || fail "the secret $1 is missing: $file is empty or not there"
  cat "$file"
}

# Settings of pgBackRest, in the environment: keys are on no command line, and it gives them to no other user.
configure() {
  local ca=
  [[ -n $BACKUP_ENDPOINT ]] || fail 'BACKUP_ENDPOINT is not set: the host of the object store'
  PGBACKREST_REPO1_S3_KEY=$(secret access_key_id) || exit
  PGBACKREST_REPO1_S3_KEY_SECRET=$(secret secret_access_key) || exit
  PGBACKREST_REPO1_CIPHER_PASS=$(secret passphrase) || exit
  export PGBACKREST_REPO1_S3_KEY PGBACKREST_REPO1_S3_KEY_SECRET PGBACKREST_REPO1_CIPHER_PASS
  if [[ -s $BACKUP_SECRETS/store_ca ]]; then ca=$BACKUP_SECRETS/store_ca; fi
  local setting settings=(
    REPO1_TYPE=s3 "REPO1_PATH=$BACKUP_PREFIX" "REPO1_S3_BUCKET=$BACKUP_BUCKET" "REPO1_S3_ENDPOINT=$BACKUP_ENDPOINT"
    "REPO1_S3_REGION=$BACKUP_REGION" "REPO1_S3_URI_STYLE=$BACKUP_URI_STYLE" "REPO1_STORAGE_PORT=$BACKUP_PORT"
    REPO1_STORAGE_VERIFY_TLS=y ${ca:+"REPO1_STORAGE_CA_FILE=$ca"} REPO1_CIPHER_TYPE=aes-256-cbc REPO1_BUNDLE=y
    COMPRESS_TYPE=zst COMPRESS_LEVEL=3 "PROCESS_MAX=$BACKUP_PROCESSES" START_FAST=y
    # `backup` does it, by time instead of number.
    EXPIRE_AUTO=n REPO1_RETENTION_FULL=9999999
    # A backup needs its WAL, which waits behind that of an import.
    ARCHIVE_TIMEOUT=1800 "IO_TIMEOUT=$BACKUP_IO_TIMEOUT" "LOCK_PATH=$BACKUP_TMP/pgbackrest"
    LOG_LEVEL_CONSOLE=off LOG_LEVEL_STDERR=warn LOG_LEVEL_FILE=off LOG_TIMESTAMP=n
    "PG1_PATH=$PGDATA" "PG1_SOCKET_PATH=$BACKUP_RUN" "PG1_PORT=${PGPORT:-5432}" "PG1_USER=$POSTGRES_USER" "PG1_DATABASE=$POSTGRES_DB"
  )
  for setting in "${settings[@]}"; do export "PGBACKREST_$setting"; done
}

backrest() { pgbackrest --no-config --stanza="$STANZA" "$@"; }
# Commands on files of the store refuse a stanza.
backrest_files() { pgbackrest --no-config "$@"; }

# Runs a command of pgBackRest; on failure says why in a sentence. What went wrong is among the lines that it prints.
explained() { # explained COMMAND…
  local errors=$BACKUP_TMP/errors.$BASHPID status=0
  "$@" 2>"$errors" || status=$?
  if ((status)); then
    explain "$errors" >&2
    rm -f "$errors"
    return "$status"
  fi
  grep -v 'Content-Length' "$errors" >&2 || true
  rm -f "$errors"
}

explain() { # explain FILE: a sentence about known errors, then the errors
  local text
  text=$(<"$1")
  case $text in
  *DbConnectError* | *'unable to find primary cluster'*) echo 'PostgreSQL does not respond' ;;
  # Errors of the store have a body that names them.
  *'[507]'* | *StorageFull* | *QuotaExceeded*) echo 'the store is full' ;;
  *'certificate'*) echo "the store's certificate cannot be verified" ;;
  # What a wrong passphrase makes of a file is mostly no text, sometimes no list of settings.
  *CryptoError* | *FormatError* | *'unable to decrypt'* | *'cipher header'*) echo 'the store cannot be decrypted: the passphrase is not the one of the backups, or a file is damaged' ;;
  *'InvalidAccessKeyId'* | *'SignatureDoesNotMatch'* | *'AccessDenied'* | *' 403 '*) echo 'the store refuses the key' ;;
  *HostConnectError* | *'unable to connect'* | *'unable to get address'* | *'timeout connecting'* | *'timeout after'* | *ServiceError*) echo 'the store does not respond' ;;
  *ChecksumError* | *'checksum'*) echo 'a file of the backup is damaged: its checksum differs' ;;
  *'unable to acquire lock'*) echo 'another backup is in progress' ;;
  *FileMissingError*) echo 'a file of the backup is missing in the store' ;;
  *ArchiveMismatchError* | *BackupMismatchError* | *'do not match'*) echo 'the store has backups of another cluster' ;;
  esac
  tr -cd '\n -~' <"$1" | cut -c 1-300 | sed '/^$/d' | head -n 12
}

# Prints the list of backups as JSON, one array whose last item is the newest.
backups() {
  local info code status=$BACKUP_TMP/status.$BASHPID
  info=$(explained backrest info --output=json) || return
  # Some errors make it print what is not JSON; others are in the status, where 1 to 3 mean that there is nothing yet.
  code=$(jq '.[0].repo[0].status.code // 0' <<<"$info" 2>/dev/null) || code=99
  if ((code <= 3)); then
    jq '[.[0].backup[]? | select(.error != true)]' <<<"$info"
  else
    jq --raw-output '.[0].repo[0].status.message' <<<"$info" >"$status" 2>/dev/null || printf '%s\n' "$info" >"$status"
    explain "$status" >&2
    rm -f "$status"
    return 1
  fi
}

archive_id() { # archive_id DATABASE_ID: name of the folder with the WAL of a cluster
  local info
  info=$(explained backrest info --output=json) || return
  jq --raw-output --argjson id "$1" '.[0].archive[] | select(.database.id == $id) | .id' <<<"$info"
}

microseconds() { date --date="$1" +%s%6N; }
as_time() { # as_time MICROSECONDS
  printf '%s.%06d+00\n' "$(date --date="@$(($1 / 1000000))" '+%Y-%m-%d %H:%M:%S')" "$(($1 % 1000000))"
}

write_metrics() { # write_metrics NAME: standard input becomes the file, whole or not at all
  [[ -d $BACKUP_METRICS && -w $BACKUP_METRICS ]] || return 0
  cat >"$BACKUP_METRICS/$1.prom.new" && mv -f "$BACKUP_METRICS/$1.prom.new" "$BACKUP_METRICS/$1.prom"
}

note() { # note NAME VALUE: kept for the metrics
  printf '%s\n' "$2" >"$BACKUP_STATE/$1.new" && mv -f "$BACKUP_STATE/$1.new" "$BACKUP_STATE/$1"
}
noted() { # noted NAME DEFAULT
  if [[ -s $BACKUP_STATE/$1 ]]; then cat "$BACKUP_STATE/$1"; else echo "$2"; fi
}

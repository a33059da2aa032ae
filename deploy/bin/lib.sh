# Sourced by the programs beside it: the state of the sides, the lock, and moves of clients. Bash 4, the Docker command
# line and awk. A rollback must work without the compose files, so that only `compose` reads them.
#
# State, in STATE_DIR (deploy/state):
#   release.env    active side, images and versions of both sides, phase; replaced as a whole
#   clients/NN     the twentieth NN of the clients is on green; nginx reads this at each request
#   lock           held by `flock` while a release or a rollback runs, with its process id

readonly SIDES='blue green' REPLICAS='1 2' BINARY=/usr/local/bin/groundwork
deploy=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE_DIR=${STATE_DIR:-$deploy/state}
SECRETS_DIR=${SECRETS_DIR:-$deploy/secrets}
export STATE_DIR SECRETS_DIR

say() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*"; }
complain() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }

# die CODE REASON…
die() {
  complain "${*:2}"
  exit "$1"
}

# --- state -----------------------------------------------------------------------------------------

# get NAME: the value in the state, empty without one.
get() { { sed -n "s/^$1=//p" "$STATE_DIR/release.env" 2>/dev/null || true; } | tail -n 1; }

# put NAME VALUE…: replaces values in the state, all at once.
put() {
  local file=$STATE_DIR/release.env names=()
  local new=$file.new.$$ pairs=("$@") at
  for ((at = 0; at < ${#pairs[@]}; at += 2)); do names+=(-e "^${pairs[at]}="); done
  {
    grep -v "${names[@]}" "$file" 2>/dev/null || true
    for ((at = 0; at < ${#pairs[@]}; at += 2)); do printf '%s=%s\n' "${pairs[at]}" "${pairs[at + 1]}"; done
  } >"$new"
  sync "$new"
  mv -f "$new" "$file"
}

other() { if [[ $1 == blue ]]; then echo green; else echo blue; fi; }
capital() { printf '%s' "$1" | tr '[:lower:]' '[:upper:]'; }
image_of() { get "$(capital "$1")_IMAGE"; }
version_of() { get "$(capital "$1")_VERSION"; }

# lock: of two processes one gets it. The kernel frees it when the process ends, however it ends.
lock() {
  exec 9>>"$STATE_DIR/lock"
  flock --nonblock 9 || return
  printf '%s\n' "$$" >"$STATE_DIR/lock"
}

# holder: id of the process that holds the lock; fails if nobody does.
holder() {
  [[ -e $STATE_DIR/lock ]] || return
  ! flock --nonblock "$STATE_DIR/lock" true || return
  cat "$STATE_DIR/lock"
}

# --- containers ------------------------------------------------------------------------------------

# project: the compose project, which is named after the folder unless COMPOSE_PROJECT_NAME says otherwise.
project() {
  local found=${COMPOSE_PROJECT_NAME:-$(get PROJECT)}
  [[ -n $found ]] || found=$(basename "$(dirname "$deploy")" | tr '[:upper:]' '[:lower:]' | tr -cd 'a-z0-9_-' | sed 's/^[_-]*//')
  printf '%s\n' "$found"
}

# compose: with the images of the sides that are noted. A side that does not run is not started by `up`.
compose() {
  local root blue=1 profiles=() side
  root=$(dirname "$deploy")
  for side in $SIDES; do
    [[ -z $(image_of "$side") ]] || export "$(capital "$side")_IMAGE=$(image_of "$side")"
  done
  if [[ -n $(get ACTIVE) ]]; then
    export IMAGE=${COMMAND_IMAGE:-$(image_of "$(get ACTIVE)")}
    [[ $(get RUNNING) == *blue* ]] || blue=0
    if [[ $(get RUNNING) == *green* ]]; then profiles=(--profile green); fi
  fi
  BLUE_REPLICAS=${BLUE_REPLICAS:-$blue} docker compose --project-directory "$root" --project-name "$(project)" \
    --env-file "${ENV_FILE:-$root/.env.production}" -f "$root/docker-compose.yml" -f "$root/docker-compose.prod.yml" \
    ${profiles[@]+"${profiles[@]}"} "$@"
}

# container SERVICE: its id, running or not; empty without one.
container() {
  docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$(project)" \
    --filter "label=com.docker.compose.service=$1" --filter label=com.docker.compose.oneoff=False | head -n 1
}

containers_of() { # containers_of SIDE: the ids of its replicas
  local replica
  for replica in $REPLICAS; do container "$1-$replica"; done
}

# runs SIDE: both replicas run.
runs() {
  local ids
  mapfile -t ids < <(containers_of "$1")
  ((${#ids[@]} == 2)) && [[ $(docker inspect --format '{{.State.Running}}' "${ids[@]}" 2>/dev/null | sort -u) == true ]]
}

# lives SIDE: restarts and start times of its replicas, which stay the same while none restarts.
lives() {
  local ids
  mapfile -t ids < <(containers_of "$1")
  docker inspect --format '{{.RestartCount}} {{.State.StartedAt}} {{.State.Running}}' "${ids[@]}" 2>/dev/null || echo gone
}

# request ARGUMENT…: curl where nginx is, which reaches the replicas.
request() { docker exec "$(container nginx)" curl --silent --show-error --max-time 3 "$@"; }

# is_ready SIDE: both replicas say so.
is_ready() {
  local replica
  for replica in $REPLICAS; do
    request --fail --output /dev/null "http://$1-$replica:8000/health/ready" 2>/dev/null || return
  done
}

# wait_until_ready SIDE SECONDS
wait_until_ready() {
  local until=$((SECONDS + $2))
  until runs "$1" && is_ready "$1"; do
    ((SECONDS < until)) || return
    sleep 0.5
  done
}

# --- clients ---------------------------------------------------------------------------------------

# share_of SIDE: per cent of the clients.
share_of() {
  local files green
  files=$(find "$STATE_DIR/clients" -name '[0-9][0-9]' | wc -l)
  green=$((files * 5))
  if [[ $1 == green ]]; then echo "$green"; else echo $((100 - green)); fi
}

# move SIDE PERCENT: that many of the clients to SIDE, the rest to the other one, always the same first.
move() {
  local at name
  for ((at = 1; at <= 20; at++)); do
    printf -v name %02d "$at"
    if (((at * 5 <= $2) == ($(green_is "$1")))); then
      : >"$STATE_DIR/clients/$name"
    else
      rm -f "$STATE_DIR/clients/$name"
    fi
  done
}
green_is() { if [[ $1 == green ]]; then echo 1; else echo 0; fi; }

# --- notes -----------------------------------------------------------------------------------------

# note SIDE OUTCOME VERSION BEFORE [REASON]: to Sentry and Alertmanager, by the binary of SIDE. A failure is only reported.
note() {
  local side=$1 arguments=(release note --outcome "$2" --release "${3:-unknown}")
  [[ -z $4 ]] || arguments+=(--before "$4")
  [[ -z ${5-} ]] || arguments+=(--reason "$5")
  if [[ -n $(container alertmanager) ]]; then arguments+=(--alertmanager http://alertmanager:9093); fi
  docker exec "$(container "$side-1")" "$BINARY" "${arguments[@]}" >/dev/null 2>&1 ||
    complain "the note was not sent: $2 of $3"
}

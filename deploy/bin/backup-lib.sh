# shellcheck shell=bash
# Sourced by `backup` and `restore` after `set -euo pipefail`.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
ENV_FILE=${ENV_FILE:-$ROOT/.env.production}

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# prod: compose of production; with COMPOSE_FILE, which has its usual meaning, that of other files.
prod() {
  if [[ -z ${COMPOSE_FILE-} ]]; then
    compose "$@"
  else
    docker compose --project-directory "$ROOT" --project-name "$(project)" --env-file "$ENV_FILE" "$@"
  fi
}

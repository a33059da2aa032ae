# shellcheck shell=bash
# Finds the checkout and the composed service, for the commands of `deploy/bin`. Sourced after `set -euo pipefail`.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
ENV_FILE=${ENV_FILE:-$ROOT/.env.production}

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

prod() { # docker compose of production; COMPOSE_FILE and COMPOSE_PROJECT_NAME have their usual meaning
  local files=(-f "$ROOT/docker-compose.yml" -f "$ROOT/docker-compose.prod.yml")
  [[ -z ${COMPOSE_FILE-} ]] || files=()
  docker compose --project-directory "$ROOT" --env-file "$ENV_FILE" "${files[@]}" "$@"
}

project() { prod config --format json | sed -n '0,/^ *"name": "\([^"]*\)",\{0,1\}$/s//\1/p' | head -n 1; }

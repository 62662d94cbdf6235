#!/usr/bin/env bash
# The one entry: makes the environment when it is not there, then does what it is asked. Every step is quick when there
# is nothing to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export OUTSTATION_PACKS="${OUTSTATION_PACKS:-$PWD/var/packs}"

usage() {
  cat <<'TEXT'
./build.sh run      install, fetch the packs, start broker, HQ and the daemon on the sample site
./build.sh test     install, run every test (arguments go to pytest)
./build.sh lint     ruff, mypy --strict, import contracts
./build.sh fetch    fetch the speech packs (arguments: names; default: English)
./build.sh bench    print the benchmarks, those of `outstation bench` and those for development (arguments: names)
./build.sh faults N do N random faults to a site, its link and HQ, and count what is lost (--seed S, --resume, --report)
./build.sh soak M   M minutes (60) of everything at once, and whether memory stays flat (BENCH_CHART=FILE draws the curve)
./build.sh train    train the packs that ship (argument: the folder of the data sets)
./build.sh lock     resolve the dependencies anew into the lock files
TEXT
}

# What .venv/stamp says when the environment is that of a lock file and the project's own metadata.
stamp() { echo "$(cat "$1" pyproject.toml | sha256sum | cut -d' ' -f1) $1"; }

# environment LOCK: .venv with what LOCK says; made again only when LOCK or pyproject.toml changed. The environment for
# development has everything that runs, so it serves for both.
environment() {
  local lock=$1 made
  made=$(cat .venv/stamp 2>/dev/null || true)
  if [ "$made" = "$(stamp "$lock")" ] || [ "$made" = "$(stamp requirements-dev.lock)" ]; then
    return
  fi
  local python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "build.sh: $python is not Python 3.11 or newer; install it, or name one with PYTHON=…" >&2
    exit 3
  }
  [ -x .venv/bin/pip ] || "$python" -m venv .venv || {
    echo "build.sh: $python cannot make a virtual environment; on Debian and Ubuntu install python3-venv." >&2
    exit 3
  }
  echo "Installing what $lock names …" >&2
  .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$lock"
  PYTHONWARNINGS=ignore .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
  stamp "$lock" >.venv/stamp
}

# The sample site in var/site with its HQ in var/hq, until Ctrl-C. Nothing listens off this machine.
run() {
  environment requirements.lock
  .venv/bin/outstation models fetch
  local here=.venv/bin page=http://127.0.0.1:8470
  if [ ! -f var/site/secrets/site.crt ]; then
    rm -rf var/site var/hq
    "$here/outstation" init --sample var/site >/dev/null
  fi
  local started=()
  trap 'trap - EXIT; kill "${started[@]}" 2>/dev/null; wait' EXIT
  trap 'exit 0' INT TERM
  rm -f var/hq/enrol.address
  "$here/outstation" hq run --dir var/hq &
  started+=($!)
  until [ -f var/hq/enrol.address ]; do
    kill -0 "$!" 2>/dev/null || exit 1
    sleep 0.2
  done
  if [ ! -f var/site/secrets/site.crt ]; then
    "$here/outstation" sync enrol var/site "$("$here/outstation" hq invite sample-mine --dir var/hq | tail -n 1)"
  fi
  "$here/outstation" run var/site &
  started+=($!)
  until "$here/python" -m edge.sample.post_notes "$page" 2>/dev/null; do
    kill -0 "$!" 2>/dev/null || exit 1
    sleep 0.5
  done
  cat <<TEXT

  The site's page    $page
  The terminal       .venv/bin/outstation tui
  HQ's page          http://127.0.0.1:8480
  Your own calls and device logs go into var/site/inbox; Ctrl-C ends it all.

TEXT
  wait -n "${started[@]}" || true
}

lint() {
  environment requirements-dev.lock
  .venv/bin/ruff check .
  .venv/bin/ruff format --check .
  .venv/bin/mypy
  .venv/bin/lint-imports
}

lock() {
  local resolve=(uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes
    --no-annotate --no-header --no-emit-index-url --quiet)
  "${resolve[@]}" --extra tui --extra hq --extra build --output-file requirements.lock
  "${resolve[@]}" --all-extras --constraint requirements.lock --output-file requirements-dev.lock
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
  run) run "$@" ;;
  test) environment requirements-dev.lock; exec .venv/bin/pytest "$@" ;;
  lint) lint ;;
  fetch) environment requirements.lock; exec .venv/bin/outstation models fetch "$@" ;;
  bench) environment requirements-dev.lock; exec .venv/bin/python -m tests.bench "$@" ;;
  faults) environment requirements-dev.lock; exec .venv/bin/python -m tests.faults "$@" ;;
  soak) environment requirements-dev.lock; BENCH_MINUTES=${1:-60} exec .venv/bin/python -m tests.bench soak ;;
  train) environment requirements-dev.lock; exec .venv/bin/python -m models.train "$@" ;;
  lock) lock ;;
  *) usage && [ -z "$command" ] ;;
esac

#!/usr/bin/env bash
# `make web-test`: modgrad-web and the playground, built and tested. What cannot be had here is left out, and said so.
set -euo pipefail
cd "$(dirname "$0")/.."

left_out() {
    echo
    echo "web-test: LEFT OUT $1"
    echo
}

# node_version: the major version, or 0.
node_version=$(node --version 2> /dev/null | sed 's/^v\([0-9]*\).*/\1/' || true)
if [ "${node_version:-0}" -lt 20 ] || ! command -v npm > /dev/null; then
    left_out "all tests of modgrad-web and the playground: they need Node 20 or newer, and npm"
    exit 0
fi

# Chromium from the distribution's packages, where it is missing and this is root's to mend.
if [ ! -x "${CHROMIUM:-/usr/bin/chromium}" ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "web-test: installing chromium"
    log=$(mktemp)
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium; } \
        > "$log" 2>&1 || tail -n 5 "$log"
    rm -f "$log"
fi

make --no-print-directory web/node_modules
(cd web && npm run --silent build && npm run --silent check) # the check takes the built types too
make --no-print-directory playground
MODGRAD_WEB=1 .venv/bin/python -m pytest -q -rs -n 0 tests/web
if [ ! -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
    left_out "the tests in a browser: there is no Chromium (apt-get install chromium, or CHROMIUM=<path>)"
fi

#!/usr/bin/env bash
# Stops the local cloud and what runs in it; everything stays on disk for the next ./start.sh.
set -euo pipefail
cd "$(dirname "$0")"
if [ ! -x node_modules/.bin/node ]; then
  echo "nothing is installed here, so nothing runs"
  exit 0
fi
PATH=$PWD/node_modules/.bin:$PATH exec node cli/main.ts down "$@"

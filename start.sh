#!/usr/bin/env bash
# Brings the local federation up: installs what is missing, then `federation up`. Arguments go to `federation up`.
set -euo pipefail
cd "$(dirname "$0")"
./install.sh
PATH=$PWD/node_modules/.bin:$PATH exec node cli/main.ts up "$@"

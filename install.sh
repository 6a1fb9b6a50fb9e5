#!/usr/bin/env bash
# Installs what is missing to work on and run this project, and says what it does. Safe to run again; takes a second when nothing is missing.
# Everything goes into node_modules and into Pulumi's own home (PULUMI_HOME, default ~/.pulumi); nothing needs root.
set -euo pipefail
cd "$(dirname "$0")"

pulumi_version=3.259.0
pulumi_home=${PULUMI_HOME:-$HOME/.pulumi}
pulumi_root=$pulumi_home/versions/$pulumi_version
needed_mib=3072
scratch=""
child=""

cleanup() {
  if [ -n "$child" ]; then kill "$child" 2>/dev/null || true; fi
  if [ -n "$scratch" ]; then rm -rf "$scratch"; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*"; }

# fail PROBLEM REMEDY
fail() {
  printf 'install: %s\n  do: %s\n' "$1" "$2" >&2
  exit 1
}

# Runs a command with its output in a file; a line every 15 s says that it goes on. Answers its exit code.
# quietly TITLE LOG COMMAND...
quietly() {
  local title=$1 log=$2 started=$SECONDS next=15 status=0
  shift 2
  say "$title ..."
  "$@" >"$log" 2>&1 </dev/null &
  child=$!
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.2
    if [ $((SECONDS - started)) -ge $next ]; then
      say "  $title: $((SECONDS - started)) s"
      next=$((next + 15))
    fi
  done
  wait "$child" || status=$?
  child=""
  if [ $status -eq 0 ]; then say "  done in $((SECONDS - started)) s"; fi
  return $status
}

# at_least VERSION MINIMUM
at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# The nearest folder that exists, at or above PATH.
existing() {
  local path=$1
  while [ ! -d "$path" ]; do path=$(dirname "$path"); done
  printf '%s' "$path"
}

check_space() {
  local path free
  path=$(existing "$1")
  free=$(($(df -Pk "$path" | awk 'NR == 2 { print $4 }') / 1024))
  if [ "$free" -lt $needed_mib ]; then
    fail "$path has $free MiB left; $needed_mib MiB are needed" "free some space, or set PULUMI_HOME to a folder on another disk"
  fi
}

check_tools() {
  local tool version
  for tool in git node npm; do
    command -v "$tool" >/dev/null || fail "there is no $tool on the PATH" "install it (Node.js 20 or newer brings npm: https://nodejs.org)"
  done
  version=$(node --version)
  at_least "${version#v}" 20.0.0 || fail "node is $version; 20 or newer is needed to install" "install a newer Node.js: https://nodejs.org"
}

# Whether node_modules holds just what package-lock.json asks for. npm writes its record there last, so a broken install has none.
packages_installed() {
  node -e '
    const fs = require("node:fs");
    const read = (path) => JSON.parse(fs.readFileSync(path, "utf8")).packages;
    let wanted, found;
    try { wanted = read("package-lock.json"); found = read("node_modules/.package-lock.json"); } catch { process.exit(1); }
    const same = (a, b) => a?.version === b?.version && a?.integrity === b?.integrity;
    const names = Object.keys(wanted).filter((name) => name !== "");
    // Optional packages are there on their own platform only.
    const complete = names.every((name) => same(wanted[name], found[name]) || (wanted[name].optional && !found[name]));
    const there = Object.keys(found).every((name) => wanted[name] && fs.existsSync(name));
    process.exit(complete && there ? 0 : 1);
  '
}

install_packages() {
  if packages_installed; then
    say "packages: in place"
  else
    check_space .
    scratch=$(mktemp -d)
    # Not `npm ci`: it refuses a lock file that lacks the optional packages of other platforms, and npm writes such files
    # (https://github.com/npm/cli/issues/4828). The versions are the lock file's all the same.
    if ! quietly "packages: npm install" "$scratch/npm.log" npm install --no-audit --no-fund; then
      grep '^npm error' "$scratch/npm.log" | head -n 20 >&2
      fail "npm install failed; its own words are above" "check the network, the disk and npm's registry setting (npm config get registry), then run ./install.sh again"
    fi
    rm -rf "$scratch"
    scratch=""
  fi
  local version
  version=$(node_modules/.bin/node --version 2>/dev/null) || version="missing"
  case $version in
    v24.*) ;;
    *) fail "node_modules/.bin/node is $version; Node.js 24 is needed" "delete node_modules and run ./install.sh again; npm must be allowed to run install scripts (npm config get ignore-scripts)" ;;
  esac
}

# A Pulumi CLI with its Node.js language plugin beside it, new enough. Prints its version.
pulumi_in() {
  local version
  [ -x "$1/pulumi" ] && [ -x "$1/pulumi-language-nodejs" ] || return 1
  version=$(PULUMI_SKIP_UPDATE_CHECK=true "$1/pulumi" version 2>/dev/null) || return 1
  at_least "${version#v}" $pulumi_version || return 1
  printf '%s' "$version"
}

# The folder of the first such CLI on the PATH. The npm launcher has no plugin beside it, so it is passed over.
pulumi_on_path() {
  local dir
  while IFS= read -r -d : dir; do
    if [ -n "$dir" ] && pulumi_in "$dir" >/dev/null; then
      printf '%s' "$dir"
      return 0
    fi
  done <<<"$PATH:"
  return 1
}

# Puts a finished folder in its place in one step, so that nobody ever sees half of it.
publish() {
  if [ -e "$pulumi_root" ] || [ -L "$pulumi_root" ]; then mv "$pulumi_root" "$scratch/replaced"; fi
  mv "$1" "$pulumi_root"
}

install_pulumi() {
  local found version
  if version=$(pulumi_in "$pulumi_root/bin"); then
    say "pulumi: $version in place"
    return
  fi
  mkdir -p "$pulumi_home/versions" 2>/dev/null && [ -w "$pulumi_home/versions" ] ||
    fail "$pulumi_home/versions cannot be written" "set PULUMI_HOME to a folder of yours, or give yourself the rights to this one"
  scratch=$(mktemp -d "$pulumi_home/versions/.install-XXXXXX")
  if found=$(pulumi_on_path); then
    mkdir "$scratch/root"
    ln -s "$found" "$scratch/root/bin"
    publish "$scratch/root"
    say "pulumi: $(pulumi_in "$pulumi_root/bin") of $found linked into $pulumi_root"
    return
  fi
  check_space "$pulumi_home"
  download_pulumi || build_pulumi
  version=$(pulumi_in "$pulumi_root/bin") || fail "$pulumi_root/bin/pulumi does not run" "delete $pulumi_root and run ./install.sh again"
  say "pulumi: $version in $pulumi_root"
}

# The vendor's own build, by the launcher from npm. Asks first whether the vendor's host can be reached: without that it could hang.
download_pulumi() {
  if ! node -e 'fetch("https://get.pulumi.com/install.sh", { method: "HEAD", signal: AbortSignal.timeout(10_000) }).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))'; then
    say "pulumi: its download host cannot be reached"
    return 1
  fi
  if ! quietly "pulumi: download of $pulumi_version" "$scratch/download.log" \
    env PULUMI_HOME="$scratch/home" PULUMI_SKIP_UPDATE_CHECK=true node_modules/.bin/pulumi version; then
    tail -n 10 "$scratch/download.log" >&2
    say "pulumi: the download failed; its last lines are above"
    return 1
  fi
  publish "$scratch/home/versions/$pulumi_version"
}

# The same release from its Go modules.
build_pulumi() {
  command -v go >/dev/null ||
    fail "Pulumi $pulumi_version can neither be downloaded (get.pulumi.com) nor be built (there is no go on the PATH)" \
      "give this machine a way to get.pulumi.com, or install Go 1.26 (https://go.dev/dl), or install Pulumi $pulumi_version or newer by hand"
  local bin=$scratch/root/bin
  mkdir -p "$bin"
  say "pulumi: building $pulumi_version from its Go modules; takes some minutes, once"
  go_build tools/pulumi-language-nodejs "-s -w" "$bin/pulumi-language-nodejs" github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs
  go_build tools/pulumi-cli "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v$pulumi_version" \
    "$bin/pulumi" github.com/pulumi/pulumi/pkg/v3/cmd/pulumi
  cp node_modules/@pulumi/pulumi/pulumi-resource-pulumi-nodejs "$bin/"
  chmod 755 "$bin/pulumi-resource-pulumi-nodejs"
  publish "$scratch/root"
}

# inside FOLDER COMMAND...
inside() { (cd "$1" && shift && exec "$@"); }

# go_build MODULE_FOLDER LDFLAGS OUTPUT PACKAGE
go_build() {
  if quietly "pulumi: go build ${3##*/}" "$scratch/go.log" inside "$1" go build -trimpath -ldflags "$2" -o "$3" "$4"; then return; fi
  tail -n 20 "$scratch/go.log" >&2
  case $(cat "$scratch/go.log") in
    *"no space left"*) fail "the disk is full" "free $needed_mib MiB (the build's cache is in $(go env GOCACHE)), then run ./install.sh again" ;;
    *"dial tcp"* | *"lookup "* | *"proxyconnect"*) fail "Go cannot fetch modules" "check the network and GOPROXY (go env GOPROXY), then run ./install.sh again" ;;
    *) fail "go build failed; its last lines are above" "check that Go is 1.26 or newer ($(go version)), then run ./install.sh again" ;;
  esac
}

check_tools
install_packages
install_pulumi
chmod +x cli/main.ts
say "installed in $SECONDS s"

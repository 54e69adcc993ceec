#!/usr/bin/env bash
# Installs the Debian packages that are named, if one of them is missing.
set -euo pipefail
if ! dpkg -s "$@" >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq "$@" >/dev/null ||
        { echo "apt-get could not install $*" >&2; exit 1; }
fi

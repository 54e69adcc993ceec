#!/usr/bin/env bash
# Whether the present work tree is as fast as an older commit: the same works in both, in short turns, at each level of this
# CPU. Prints the shortest time of each and their ratio; below 1 the present tree is faster.
#
#   scripts/compare_with_commit.sh COMMIT                      everything, at all levels: three to five minutes, once built
#   scripts/compare_with_commit.sh COMMIT avx2 avx512          these levels only
#   scripts/compare_with_commit.sh COMMIT --work 'forward|step 64$'   works whose name the regular expression finds
#   scripts/compare_with_commit.sh COMMIT --rounds 200         more turns than the 60 that are the default
#
# COMMIT HEAD shows what is not yet committed; where nothing is, how far the ratios can be trusted on this machine. Where a
# change moves code, works that it does not touch can differ by some percent too: step-trace 8 and 32 and sequence 16 do.
# Needs Linux, git, cargo and Python 3. How it measures: scripts/compare/run.py. What it measures: scripts/compare/common.rs.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 scripts/compare/run.py "$@"

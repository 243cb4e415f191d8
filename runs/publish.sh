#!/usr/bin/env bash
# The tables of README.md and docs/results.md and the README's picture: `make quickstart` afresh, then every method.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf out/quickstart out/learn out/methods
make quickstart learn
.venv/bin/python runs/methods.py
.venv/bin/python runs/readme.py
.venv/bin/python runs/leaderboard.py

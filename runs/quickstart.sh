#!/usr/bin/env bash
# The table and the picture of the README: runs `make quickstart` afresh and publishes what it wrote.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf out/quickstart
make quickstart
mkdir -p docs/results docs/images
cp out/quickstart/results.json docs/results/quickstart.json
.venv/bin/python runs/readme.py

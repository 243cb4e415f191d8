#!/usr/bin/env bash
# The environment of `make demo-test`: Gradio and Pinhole beside it, and what drives a browser, in a folder of its own.
# usage: runs/demo_env.sh FOLDER
set -euo pipefail
folder=$1
cd "$(dirname "$0")/.."

"${PYTHON:-python3}" -m venv "$folder"
pinned="$folder/constraints.txt"  # Pinhole's versions, but of what Gradio holds back
grep -v -E '^pillow==' constraints.txt > "$pinned"
"$folder/bin/pip" install --quiet --constraint "$pinned" --editable '.[demo]' playwright pytest

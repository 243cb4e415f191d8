#!/usr/bin/env bash
# The environment of `make lmms-test`: lmms-eval and Pinhole beside it, in a folder of its own.
# usage: runs/lmms_env.sh FOLDER
set -euo pipefail
folder=$1
cd "$(dirname "$0")/.."

"${PYTHON:-python3}" -m venv "$folder"
pinned="$folder/constraints.txt"  # Pinhole's versions, but of what lmms-eval holds back
grep -v -E '^(protobuf|python-dateutil)==' constraints.txt > "$pinned"
"$folder/bin/pip" install --quiet --constraint "$pinned" --editable '.[lmms]' pytest

# torchvision from the registry is built for CUDA; beside a torch for CPUs it must be helped to be imported
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
cp runs/serving_torchvision.py "$site/_torchvision_for_cpus.py"
echo 'import _torchvision_for_cpus' > "$site/_torchvision_for_cpus.pth"

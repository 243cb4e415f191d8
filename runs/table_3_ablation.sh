#!/usr/bin/env bash
# MetaCompress, Table 3: the loss without each of its terms, and the collapse term without clipping.
source "$(dirname "$0")/table_options.sh"
declare -A terms=(
  ["KL"]="0 0 none" ["KL + entropy"]="1 0 none" ["KL + collapse, not clipped"]="0 1 none"
  ["KL + collapse"]="0 1 0.01" ["all"]="1 1 0.01"
)
rows=("KL" "KL + entropy" "KL + collapse, not clipped" "KL + collapse" "all") learned=()
for row in "${rows[@]}"; do
  read -r entropy collapse clip <<<"${terms[$row]}"
  folder=$(compressor "losses-$entropy-$collapse-$clip" --clip "${clip/none/1e9}" \
    --set entropy_weight="$entropy" collapse_weight="$collapse")
  learned+=("metacompress:$folder")
done
ask "$test" "$name" full sample "${learned[@]}"
.venv/bin/python runs/tables.py table_3 --results "$made/$name/results.json" --rows full sample "${rows[@]}" "${publish[@]}"

#!/usr/bin/env bash
# MetaCompress, Table 5: the weights of the entropy and collapse terms, around the paper's 1 and 1.
source "$(dirname "$0")/table_options.sh"
rows=() learned=()
for pair in "1 1" "0.1 1" "1 0.1" "0.1 0.1" "0.02 0.02"; do
  read -r entropy collapse <<<"$pair"
  folder=$(compressor "losses-$entropy-$collapse-0.01" --set entropy_weight="$entropy" collapse_weight="$collapse")
  learned+=("metacompress:$folder") rows+=("entropy $entropy, collapse $collapse")
done
ask "$test" "$name" full sample "${learned[@]}"
.venv/bin/python runs/tables.py "$name" --results "$made/$name/results.json" --rows full sample "${rows[@]}" "${publish[@]}"

#!/usr/bin/env bash
# The explainability compressor's main results: half and a quarter of the visual tokens, one question of an image. Asked
# are the dialogues of --test, or with --tasks lmms:mmstar lmms:mme ... the benchmarks of lmms-eval.
source "$(dirname "$0")/table_options.sh"
keep=(0.5 0.25) epochs=()
if [ -n "$embedded" ]; then
  samples=500 epochs=(--epochs 40 --lr 2e-3)
  test=$(drawn questions --split test --count 1200 --turns 1)
fi
labels=$made/labels
$pinhole label --model "$model" --data "$train" --limit "$samples" --turns all --out "$labels" "${extra[@]}"
learned=$(learn relevance --method relevance:keep=0.25 --labels "$labels" "${epochs[@]}")
rows=(full "relevance, 50 %" "relevance, 25 %") results=$made/$name/results.json
if ((${#tasks[@]})); then
  results=$made/$name/lmms.json
  $pinhole eval --model "$model" --tasks "${tasks[@]}" --out "$made/$name" --keep "${keep[@]}" \
    --methods full "relevance:$learned" "${extra[@]}"
else
  ask "$test" "$name" full "relevance:$learned"
fi
.venv/bin/python runs/tables.py "$name" --results "$results" --rows "${rows[@]}" "${publish[@]}"

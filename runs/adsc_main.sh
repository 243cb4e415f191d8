#!/usr/bin/env bash
# ADSC's main result: what its schedule saves inside the LLM, and the accuracy that is left after LoRA learned it.
source "$(dirname "$0")/table_options.sh"
method=adsc
if [ -n "$embedded" ]; then
  # On average over the four layers a third stays, as in the paper.
  method='adsc:schedule={1:0.2,2:0.07}' epochs=(--epochs 2 --lr 2e-3 --set targets=all-linear)
fi
learned=$(learn adsc --method "$method" "${epochs[@]}")
ask "$test" "$name" full "adsc:$learned"
.venv/bin/python runs/tables.py "$name" --results "$made/$name/results.json" --rows full adsc "${publish[@]}"

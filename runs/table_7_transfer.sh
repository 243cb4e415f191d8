#!/usr/bin/env bash
# MetaCompress, Table 7: a compressor that learned from one data set, asked another. The other is --other-train and
# --other-test; with --embedded the two differ in the kinds of their questions.
source "$(dirname "$0")/table_options.sh"
if [ -n "$embedded" ]; then
  look=(--kinds color shape position) reason=(--kinds count digit exist relation)
  train=$(drawn train-look --split train --count 1600 --turns 2 "${look[@]}")
  test=$(drawn look --split test --count 400 --turns 2 "${look[@]}")
  other_train=$(drawn train-reason --split train --count 1600 --turns 2 "${reason[@]}")
  other_test=$(drawn reason --split test --count 400 --turns 2 "${reason[@]}")
fi
[ -n "$other_train" ] && [ -n "$other_test" ] || { echo "$0: give --other-train and --other-test too" >&2; exit 2; }
one=$(compressor transfer-one "${weights[@]}")
train=$other_train
other=$(compressor transfer-other "${weights[@]}")
ask "$test" "$name/one" full sample "metacompress:$one" "metacompress:$other"
ask "$other_test" "$name/other" full sample "metacompress:$other" "metacompress:$one"
.venv/bin/python runs/tables.py table_7 --rows full sample "trained on its own" "trained on the other" \
  --results "$made/$name/one/results.json" "$made/$name/other/results.json" "${publish[@]}"

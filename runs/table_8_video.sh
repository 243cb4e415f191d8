#!/usr/bin/env bash
# MetaCompress, Table 8: a compressor that learned from pictures, asked about videos, at 30 % of the visual tokens.
# --train are dialogues about pictures, --test about videos; with --embedded a video is four frames, each a picture.
source "$(dirname "$0")/table_options.sh"
keep=(0.3)
learned=$(learn pictures --method metacompress:keep=0.3 "${epochs[@]}" "${weights[@]}")
[ -z "$embedded" ] || test=$(drawn clips --split test --count 400 --frames 4)
ask "$test" "$name" full random sample "$fastv" "metacompress:$learned"
.venv/bin/python runs/tables.py table_8 --results "$made/$name/results.json" \
  --rows full random sample fastv metacompress "${publish[@]}"

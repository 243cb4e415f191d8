#!/usr/bin/env bash
# The systems that learn, on the embedded LVLM: label, train, evaluate. Writes out/learn/results.json; goes on where it
# was stopped. The settings were chosen on validation scenes: so few steps on so small a model need high learning rates,
# and labels that are the mean over heads are better here than those weighted by gradients, the paper's.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/learn}
pinhole=.venv/bin/pinhole
data=$out/data/train
test=$out/data/test

[ -e "$data/dialogues.jsonl" ] || $pinhole scenes --split train --count 1600 --turns 4 --out "$data"
[ -e "$test/dialogues.jsonl" ] || $pinhole scenes --split test --count 400 --out "$test"

$pinhole label --data "$data" --limit 500 --turns all --weighting mean --out "$out/labels"
for weighting in mean gradient; do
  $pinhole label --data "$test" --turns first --all-answers --weighting $weighting --out "$out/oracle-$weighting"
done

$pinhole train --resume --data "$data" --method metacompress:keep=0.1 --out "$out/metacompress" \
  --epochs 3 --set entropy_weight=0.02 collapse_weight=0.02 keeps=[0.25,0.1]
$pinhole train --resume --data "$data" --method pinhole:keep=0.1 --out "$out/pinhole" --epochs 3 --set keeps=[0.25,0.1]
$pinhole train --resume --data "$data" --method relevance:keep=0.1 --labels "$out/labels" --out "$out/relevance" \
  --epochs 40 --lr 2e-3
$pinhole train --resume --data "$data" --method visionselector:keep=0.1 --out "$out/visionselector" \
  --epochs 2 --batch 16 --lr 2e-3
$pinhole train --resume --data "$data" --method 'sample:keep=0.25+adsc:schedule={1:0.3,2:0.15}' --out "$out/adsc" \
  --epochs 2 --lr 2e-3 --set targets=all-linear

.venv/bin/python runs/methods.py --few --data "$test" --metacompress "$out/metacompress" --learned "$out" --out "$out"

#!/usr/bin/env bash
# Pinhole's own method beside everything else, on the embedded LVLMs: several seeds, 1,000 held-out dialogues, a tenth
# and a quarter of the visual tokens. Writes docs/results/fidelity.json and docs/fidelity.md; goes on where it stopped.
#
#   shapes     what is trained on the first world, asked about it
#   original   the same, where kept tokens have their original positions
#   tiles      the same, for the same LVLM at twice the resolution: an overview and four tiles, as LLaVA-NeXT reads them
#   signs      the LVLM that knows both worlds, asked about signs: trained on signs, and on the first world alone
set -euo pipefail
cd "$(dirname "$0")/.."
pinhole=.venv/bin/pinhole
out=out/fidelity
likewise=(--lr 3e-3 --clip 1 --set entropy_weight=0 hidden_weight=1)
shapes=$out/shapes/test signs=$out/signs/test

drawn() {  # WORLD SPLIT COUNT TURNS
  [ -e "$out/$1/$2/dialogues.jsonl" ] ||
    $pinhole scenes --world "$1" --split "$2" --count "$3" --turns "$4" --out "$out/$1/$2"
}

learn() {  # MODEL WORLD NAME OPTIONS...
  $pinhole train --model "$1" --data "$out/$2/train" --resume --out "$out/$1/$2/$3" "${@:4}"
}

distil() {  # MODEL WORLD NAME OPTIONS...
  learn "$@" --cache "$out/teacher/$1-$2" --epochs 6 --set 'keeps=[0.1,0.1,0.25]'
}

ask() {  # MODEL PART GROUP DATA OPTIONS...
  $pinhole eval --model "$1" --data "$4" --out "$out/asked/$2/$3" --ttft-dialogues 0 --batch 100 "${@:5}"
}

for world in shapes signs; do
  drawn $world train 3200 4
  drawn $world test 1000 3
done
ours=() likened=()
for seed in 0 1 2; do
  distil embedded shapes pinhole-$seed --method pinhole:keep=0.1 --seed $seed
  distil embedded shapes metacompress-$seed --method metacompress:keep=0.1 --seed $seed "${likewise[@]}"
  ours+=("pinhole:$out/embedded/shapes/pinhole-$seed")
  likened+=("metacompress:$out/embedded/shapes/metacompress-$seed")
  for world in shapes signs; do
    distil embedded-signs $world pinhole-$seed --limit 1600 --method pinhole:keep=0.1 --seed $seed
  done
done
distil embedded shapes plain --method pinhole:keep=0.1,correct=false
learn embedded shapes visionselector --method visionselector:keep=0.1 --epochs 1 --batch 16 --lr 2e-3
$pinhole label --data $out/shapes/train --limit 500 --turns all --weighting mean --out $out/labels
learn embedded shapes relevance --method relevance:keep=0.1 --labels $out/labels --epochs 40 --lr 2e-3
[ -e $out/tiles/config.json ] || .venv/bin/python runs/embedded_tiles.py $out/tiles

ask embedded shapes Pinhole "$shapes" --keep 0.1 0.25 --methods "${ours[@]}"
ask embedded shapes "Pinhole without C" "$shapes" --keep 0.1 0.25 --methods pinhole:$out/embedded/shapes/plain
ask embedded shapes "MetaCompress, trained likewise" "$shapes" --keep 0.1 0.25 --methods "${likened[@]}"
ask embedded shapes VisionSelector "$shapes" --keep 0.1 --methods visionselector:$out/embedded/shapes/visionselector
ask embedded shapes Relevance "$shapes" --keep 0.1 --methods relevance:$out/embedded/shapes/relevance
ask embedded shapes rivals "$shapes" --keep 0.1 \
  --methods full sample random spatial tome prumerge:layer=own prumerge+:layer=own visionzip vispruner divprune cdpruner
ask embedded shapes more "$shapes" --keep 0.25 --methods sample tome divprune

ask embedded original rivals "$shapes" --positions original --keep 0.1 --methods full sample vispruner divprune cdpruner
ask embedded original Pinhole "$shapes" --positions original --keep 0.1 --methods "${ours[@]}"

ask $out/tiles tiles rivals "$shapes" --limit 300 --keep 0.1 --methods full sample divprune
ask $out/tiles tiles Pinhole "$shapes" --limit 300 --keep 0.1 --methods "${ours[@]}"

ask embedded-signs signs rivals "$signs" --keep 0.1 --methods full sample tome vispruner divprune cdpruner
ask embedded-signs signs more "$signs" --keep 0.25 --methods sample divprune
for world in signs shapes; do
  ask embedded-signs signs "Pinhole, trained on $world" "$signs" --keep 0.1 0.25 \
    --methods pinhole:$out/embedded-signs/$world/pinhole-{0,1,2}
done
[ -e $out/looks.json ] || .venv/bin/python runs/fidelity_looks.py --made $out Sample=sample DivPrune=divprune \
  "MetaCompress, trained likewise=$(IFS=,; echo "${likened[*]}")" "Pinhole=$(IFS=,; echo "${ours[*]}")"
[ -e $out/ceiling.json ] ||
  .venv/bin/python runs/fidelity_ceiling.py $out/embedded/shapes/plain $out/embedded/shapes/pinhole-0 --made $out
$pinhole bench --model llava-1.5-7b:layers=2 --methods full sample metacompress pinhole --keep 0.1 --turns 1 --tokens 2 \
  --repeats 5 --dtype float32 --out "$out/cost"
.venv/bin/python runs/fidelity.py

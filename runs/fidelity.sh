#!/usr/bin/env bash
# Pinhole's own method beside everything else, on the embedded LVLMs: three seeds, 1,000 held-out dialogues, a tenth and
# a quarter of the visual tokens. Writes docs/results/fidelity.json and docs/fidelity.md; goes on where it was stopped.
#
#   shapes     what is trained on the first world, asked about it
#   original   the same, where kept tokens have their original positions
#   tiles      the same, for the same LVLM at twice the resolution: an overview and four tiles, as LLaVA-NeXT reads them
#   signs      the LVLM that knows both worlds, asked about signs: trained on signs, and on the first world alone
set -euo pipefail
cd "$(dirname "$0")/.."
pinhole=.venv/bin/pinhole
out=out/fidelity
several=(--epochs 6 --set 'keeps=[0.1,0.1,0.25]')
tuned=(--lr 3e-3 --clip 1 --set entropy_weight=0 hidden_weight=1)
rivals=(full sample random spatial tome prumerge:layer=own prumerge+:layer=own visionzip vispruner divprune cdpruner)

drawn() {  # WORLD SPLIT COUNT TURNS
  local folder=$out/$1/$2
  [ -e "$folder/dialogues.jsonl" ] || $pinhole scenes --world "$1" --split "$2" --count "$3" --turns "$4" --out "$folder" >&2
  echo "$folder"
}

learn() {  # MODEL WORLD NAME OPTIONS...
  $pinhole train --model "$1" --data "$out/$2/train" --resume --cache "$out/teacher/$1-$2" --out "$out/$1/$2/$3" "${@:4}"
}

ask() {  # MODEL PART GROUP DATA METHODS...
  $pinhole eval --model "$1" --data "$4" --out "$out/asked/$2/$3" --ttft-dialogues 0 --keep "${keep[@]}" \
    "${options[@]}" --methods "${@:5}"
}

for world in shapes signs; do
  drawn $world train 3200 4
  drawn $world test 1000 3
done
shapes=$out/shapes/test signs=$out/signs/test
weights() { echo "$1:$out/$2/$3/$4"; }  # METHOD MODEL WORLD NAME

for seed in 0 1 2; do
  learn embedded shapes pinhole-$seed --method pinhole:keep=0.1 --seed $seed "${several[@]}"
  learn embedded shapes metacompress-$seed --method metacompress:keep=0.1 --seed $seed "${several[@]}" "${tuned[@]}"
done
learn embedded shapes uncorrected --method pinhole:keep=0.1,correct=false "${several[@]}"
learn embedded shapes visionselector --method visionselector:keep=0.1 --epochs 1 --batch 16 --lr 2e-3
for world in shapes signs; do
  learn embedded-signs $world pinhole --method pinhole:keep=0.1 "${several[@]}"
done

keep=(0.1 0.25) options=()
ours=() theirs=()
for seed in 0 1 2; do
  ours+=("$(weights pinhole embedded shapes pinhole-$seed)")
  theirs+=("$(weights metacompress embedded shapes metacompress-$seed)")
done
ask embedded shapes rivals "$shapes" "${rivals[@]}"
ask embedded shapes Pinhole "$shapes" "${ours[@]}"
ask embedded shapes "MetaCompress, trained likewise" "$shapes" "${theirs[@]}"
ask embedded shapes "Pinhole without its correction" "$shapes" "$(weights pinhole embedded shapes uncorrected)"
ask embedded shapes VisionSelector "$shapes" "$(weights visionselector embedded shapes visionselector)"

options=(--positions original)
ask embedded original rivals "$shapes" full sample vispruner divprune cdpruner
ask embedded original Pinhole "$shapes" "${ours[@]}"

options=(--limit 300) keep=(0.1)
[ -e $out/tiles/config.json ] || .venv/bin/python runs/embedded_tiles.py $out/tiles
ask $out/tiles tiles rivals "$shapes" full sample divprune
ask $out/tiles tiles Pinhole "$shapes" "${ours[@]}"

keep=(0.1 0.25) options=()
ask embedded-signs signs rivals "$signs" full sample random spatial tome vispruner divprune cdpruner
ask embedded-signs signs "Pinhole, trained on signs" "$signs" "$(weights pinhole embedded-signs signs pinhole)"
ask embedded-signs signs "Pinhole, trained on shapes" "$signs" "$(weights pinhole embedded-signs shapes pinhole)"
.venv/bin/python runs/fidelity.py

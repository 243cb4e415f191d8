# What the scripts of the tables share; to be sourced. Their arguments:
#
#   --embedded         the LVLM that ships with Pinhole, on drawn scenes, in minutes; the numbers go into docs/tables.md
#   --model MODEL      checkpoint folder or hub name
#   --train DIR        dialogues to learn from (pinhole data build); the first 20,000, or --samples N
#   --test DIR         dialogues that are asked
#   --out DIR          what is made; out/tables by default. The same command goes on where it was stopped
#   -- OPTIONS         for pinhole train, label and eval, such as: -- --device-map auto --dtype bfloat16
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
name=$(basename "$0" .sh)
model='' train='' test='' other_train='' other_test='' out=out/tables samples=20000 embedded='' tasks=()
while (($#)); do
  case $1 in
    --embedded) embedded=yes ;;
    --model | --train | --test | --out | --samples | --other-train | --other-test)
      (($# > 1)) || { echo "$1 needs a value" >&2; exit 2; }
      printf -v "$(tr - _ <<<"${1#--}")" %s "$2"
      shift
      ;;
    --tasks) while (($# > 1)) && [[ $2 == lmms:* ]]; do tasks+=("$2") && shift; done ;;
    --) shift; break ;;
    *) sed -n '2,/^[^#]/s/^# \?//p' "$0" >&2; sed -n '3,/^[^#]/s/^# \?//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
  shift
done
extra=("$@")
pinhole=.venv/bin/pinhole
fastv=fastv prumerge=prumerge weights=() publish=() epochs=()

# drawn NAME OPTIONS...: the folder of dialogues about drawn scenes, which are drawn unless they are there.
drawn() {
  local folder=$out/data/$1
  [ -e "$folder/dialogues.jsonl" ] || $pinhole scenes --out "$folder" "${@:2}" >&2
  echo "$folder"
}

if [ -n "$embedded" ]; then
  model=embedded samples=1600 publish=(--publish) epochs=(--epochs 3)
  train=$(drawn train --split train --count 1600 --turns 4)
  test=$(drawn scenes --split test --count 400)
  # Layer 2 of 4 is late, and the projector reads the encoder's last layer; weights chosen on validation scenes.
  fastv=fastv:layer=1 prumerge=prumerge:layer=own weights=(--set entropy_weight=0.02 collapse_weight=0.02)
fi
[ -n "$model" ] && [ -n "$train" ] && [ -n "$test$(printf %s "${tasks[@]-}")" ] ||
  { echo "$0: give --embedded, or --model, --train and --test" >&2; exit 2; }
made=$out/$(basename "$model")

# learn NAME OPTIONS...: train a method on $train, unless it is there; prints the folder of its weights.
learn() {
  $pinhole train --model "$model" --data "$train" --limit "$samples" --resume --out "$made/$1" "${@:2}" "${extra[@]}" >&2
  echo "$made/$1"
}

# compressor NAME OPTIONS...: MetaCompress for a tenth of the tokens.
compressor() {
  learn "$1" --method metacompress:keep=0.1 "${epochs[@]}" "${@:2}"
}

# ask DATA FOLDER METHODS...: hold the dialogues with each method.
ask() {
  $pinhole eval --model "$model" --data "$1" --out "$made/$2" --ttft-dialogues 0 --keep "${keep[@]:-0.1}" \
    --methods "${@:3}" "${extra[@]}"
}

# compare METHODS...: the uncompressed model, these methods and MetaCompress, each for a tenth of the tokens, as a table.
compare() {
  local learned
  learned=$(compressor metacompress "${weights[@]}")
  ask "$test" "$name" full "$@" "metacompress:$learned"
  .venv/bin/python runs/tables.py "$name" --results "$made/$name/results.json" \
    --rows full "${@%%:*}" metacompress "${publish[@]}"
}

#!/usr/bin/env bash
# The GPU's efficiency results, docs/results/*_gpu.json, and docs/efficiency.md: bfloat16, batch 1, one GPU with 40 GB or
# more. Parts: next, methods, onevision, qwen, large, scaling, profile, training; all of them without an argument. Each
# takes some minutes on a data-centre GPU. One that works for nine is stopped; called again it goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
few="full sample metacompress pinhole fastv"
some="full sample metacompress pinhole visionzip divprune fastv pyramiddrop sparsevlm dart"

limited() {  # a command that goes on where it was stopped
    timeout 9m "$@" || { status=$?; [ $status != 124 ] || echo "stopped after nine minutes: call it again" >&2; exit $status; }
}

measure() {  # name, architecture, arguments of pinhole bench
    local name=$1 shape=$2; shift 2
    limited "$bin/pinhole" bench --model "$shape" --keep 0.1 --dtype bfloat16 --device cuda --repeats 5 --tokens 32 \
        --out "out/efficiency/$name" "$@"
    cp "out/efficiency/$name/results.json" "docs/results/$name.json"
}

for part in "${@:-next methods onevision qwen large scaling profile training}"; do
    for one in $part; do
        case $one in
            next) measure efficiency_gpu llava-next-7b --turns 3 --methods $some ;;
            methods) measure efficiency_methods_gpu llava-1.5-7b --turns 1 --methods $some random spatial tome prumerge \
                prumerge+ vispruner cdpruner visionselector relevance vtw adsc ;;
            onevision) measure efficiency_onevision_gpu llava-onevision-7b --turns 3 --methods $few ;;
            qwen) measure efficiency_qwen_gpu qwen2-vl-7b --turns 3 --methods $few ;;
            large) measure efficiency_large_gpu llava-1.5-13b --turns 3 --methods $few ;;
            scaling) limited "$bin/python" runs/scaling.py --limit 5 --out docs/results/scaling_gpu.json \
                --picture docs/images/scaling_gpu.svg ;;
            profile) "$bin/python" runs/profile_prefill.py --shape llava-next-7b --out docs/results/profile_gpu.json ;;
            training) "$bin/python" runs/training_cost.py ;;
            *) echo "no part $one" >&2; exit 1 ;;
        esac
    done
done
"$bin/python" runs/efficiency_page.py

#!/usr/bin/env bash
# The GPU's efficiency results, docs/results/*_gpu.json, and docs/efficiency.md: bfloat16, batch 1, one GPU with 40 GB or
# more. Parts, each under ten minutes on a data-centre GPU: next, methods, onevision, qwen, large, scaling, profile,
# training; all of them without an argument.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
some="full sample metacompress visionzip divprune fastv pyramiddrop sparsevlm dart"

measure() {  # name, architecture, arguments of pinhole bench
    local name=$1 shape=$2; shift 2
    "$bin/pinhole" bench --model "$shape" --keep 0.1 --dtype bfloat16 --device cuda --repeats 10 --turns 3 --tokens 32 \
        --out "out/efficiency/$name" "$@"
    cp "out/efficiency/$name/results.json" "docs/results/$name.json"
}

for part in "${@:-next methods onevision qwen large scaling profile training}"; do
    for one in $part; do
        case $one in
            next) measure efficiency_gpu llava-next-7b --methods $some ;;
            methods) measure efficiency_methods_gpu llava-1.5-7b --methods $some random spatial tome prumerge vispruner \
                cdpruner visionselector relevance vtw adsc ;;
            onevision) measure efficiency_onevision_gpu llava-onevision-7b --methods full sample metacompress fastv ;;
            qwen) measure efficiency_qwen_gpu qwen2-vl-7b --methods full sample metacompress fastv ;;
            large) measure efficiency_large_gpu llava-1.5-13b --methods full sample metacompress fastv ;;
            scaling) "$bin/python" runs/scaling.py --limit 5 --out docs/results/scaling_gpu.json \
                --picture docs/images/scaling_gpu.svg ;;
            profile) "$bin/python" runs/profile_prefill.py --shape llava-next-7b --out docs/results/profile_gpu.json ;;
            training) "$bin/python" runs/training_cost.py ;;
            *) echo "no part $one" >&2; exit 1 ;;
        esac
    done
done
"$bin/python" runs/efficiency_page.py

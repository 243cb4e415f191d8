#!/usr/bin/env bash
# The CPU's efficiency results, docs/results/*_cpu.json, and docs/efficiency.md. Parts, each under ten minutes on two
# quiet cores: main, methods, scaling, profile; all of them without an argument.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
shape=llava-1.5-7b:layers=4

measure() {  # name, arguments of pinhole bench
    local name=$1; shift
    "$bin/pinhole" bench --model "$shape" --keep 0.1 --dtype bfloat16 --device cpu --out "out/efficiency/$name" "$@"
    cp "out/efficiency/$name/results.json" "docs/results/$name.json"
}

for part in "${@:-main methods scaling profile}"; do
    for one in $part; do
        case $one in
            main) measure efficiency_cpu --methods full sample metacompress fastv --turns 3 --tokens 8 --repeats 5 ;;
            methods) measure efficiency_methods_cpu --turns 1 --tokens 4 --repeats 3 --methods full sample random spatial \
                tome prumerge visionzip vispruner divprune cdpruner visionselector relevance metacompress fastv \
                pyramiddrop sparsevlm dart vtw adsc ;;
            scaling) "$bin/python" runs/scaling.py --limit 5 --out docs/results/scaling_cpu.json \
                --picture docs/images/scaling_cpu.svg ;;
            profile) "$bin/python" runs/profile_prefill.py --shape "$shape" --out docs/results/profile_cpu.json ;;
            *) echo "no part $one: main, methods, scaling, profile" >&2; exit 1 ;;
        esac
    done
done
"$bin/python" runs/efficiency_page.py

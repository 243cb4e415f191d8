#!/usr/bin/env bash
# The CPU's efficiency results, docs/results/*_cpu.json, and docs/efficiency.md. Parts: main, methods, inside, scaling,
# profile, training; all of them without an argument. A part that works for nine minutes is stopped; called again it goes
# on. In float32: without AVX-512 a CPU takes several times as long for a product in bfloat16.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
deep=llava-1.5-7b:layers=4
shallow=llava-1.5-7b:layers=2

limited() {  # a command that goes on where it was stopped
    timeout 9m "$@" || { status=$?; [ $status != 124 ] || echo "stopped after nine minutes: call it again" >&2; exit $status; }
}

measure() {  # name, architecture, arguments of pinhole bench
    local name=$1 shape=$2; shift 2
    limited "$bin/pinhole" bench --model "$shape" --keep 0.1 --dtype float32 --device cpu --tokens 4 --repeats 3 \
        --out "out/efficiency/$name" "$@"
    cp "out/efficiency/$name/results.json" "docs/results/$name.json"
}

for part in "${@:-main methods inside scaling profile training}"; do
    for one in $part; do
        case $one in
            main) measure efficiency_cpu "$deep" --methods full sample metacompress --turns 2 ;;
            methods) measure efficiency_methods_cpu "$shallow" --turns 1 --methods full sample random spatial tome prumerge \
                prumerge+ visionzip vispruner divprune cdpruner visionselector relevance metacompress pinhole ;;
            inside) measure efficiency_inside_cpu "$deep" --turns 1 --methods full sample fastv pyramiddrop sparsevlm dart \
                vtw adsc ;;
            scaling) limited "$bin/python" runs/scaling.py --limit 5 --out docs/results/scaling_cpu.json \
                --picture docs/images/scaling_cpu.svg ;;
            profile) "$bin/python" runs/profile_prefill.py --shape "$deep" --dtype float32 \
                --out docs/results/profile_cpu.json ;;
            training) "$bin/python" runs/training_cost.py --depths 1 2 --batch 1 --steps 1 ;;
            *) echo "no part $one: main, methods, inside, scaling, profile, training" >&2; exit 1 ;;
        esac
    done
done
"$bin/python" runs/efficiency_page.py

#!/usr/bin/env bash
# MetaCompress, Table 4: beside the methods that read the image alone, at a tenth of the visual tokens.
# Where a method cannot be had on a model (PruMerge needs a [CLS] token), name the others with METHODS="sample spatial".
source "$(dirname "$0")/table_options.sh"
read -ra methods <<<"full ${METHODS:-sample spatial tome $prumerge visionzip}"
learned=$(compressor metacompress "${weights[@]}")
ask "$test" "$name" "${methods[@]}" "metacompress:$learned"
.venv/bin/python runs/tables.py "$name" --results "$made/$name/results.json" \
  --rows "${methods[@]%%:*}" metacompress "${publish[@]}"

#!/usr/bin/env bash
# MetaCompress, Table 1: a tenth of the visual tokens in three-turn dialogues; one model and benchmark at a time.
# Where a method cannot be had on a model (PruMerge needs a [CLS] token), name the others with METHODS="random sample".
source "$(dirname "$0")/table_options.sh"
read -ra methods <<<"${METHODS:-random sample $fastv $prumerge}"
compare "${methods[@]}"

#!/usr/bin/env bash
# MetaCompress, Table 4: beside the methods that read the image alone, at a tenth of the visual tokens.
# Where a method cannot be had on a model (PruMerge needs a [CLS] token), name the others with METHODS="sample spatial".
source "$(dirname "$0")/table_options.sh"
read -ra methods <<<"${METHODS:-sample spatial tome $prumerge visionzip}"
compare "${methods[@]}"

#!/bin/sh
# Makes the environment of Syne Tune's arms: benchmarks/search/syne_tune_env.sh FOLDER
# Apart from ours, since its pins and ours need not agree.
set -eu
folder=${1:?"usage: syne_tune_env.sh FOLDER"}
python3.11 -m venv "$folder"
"$folder/bin/pip" install --quiet --requirement "$(dirname "$0")/syne_tune.txt"
echo "$folder/bin/python"

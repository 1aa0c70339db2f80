#!/usr/bin/env bash
# Four methods on all of CIFAR-10 with the -modern recipe, equal epochs, as many as the minutes allow; then their robustness.
#     benchmarks/gpu.sh DATA [--minutes M] [--out FOLDER]
# DATA: the folder with cifar-10-batches-py. Killed, the same command goes on where it stopped; see gpu.py.
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu.py" "$@"

#!/usr/bin/env bash
# One sitting on a GPU machine that starts bare and goes away: the data unpacked, the plan trained, the reports packed.
#
#   benchmarks/gpu/sitting.sh PACKED_DATA PLAN MINUTES OUT [options of on_gpu.py]
#
# PACKED_DATA is what packed.py made. Runs are trained in WORK (/tmp/sitting), so that a second sitting on the same machine goes
# on; an archive `reports.tgz` beside PACKED_DATA holds what earlier machines finished, which is not trained again. OUT gets
# reports.tgz, of all runs that are finished now, weights.tar.xz, of the pruned ones, in parts of 14 MB (at most four, then it
# is cut off), and the log.
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)
packed=$(realpath "$1") plan=$(realpath "$2") minutes=$3 out=$(realpath "$4")
shift 4
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$repo/src" OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
mkdir -p "${WORK:=/tmp/sitting}"
cd "$WORK"

[ -d data/nyuv2_160x120 ] || "${PYTHON:-python3}" "$repo/benchmarks/gpu/packed.py" unpack "$packed" data/nyuv2_160x120
if [ -f "$packed/reports.tgz" ] && [ ! -d runs ]; then
  tar xzf "$packed/reports.tgz"
  find runs -name report.json -execdir touch model.safetensors \;
fi
if command -v nvidia-cuda-mps-control > /dev/null; then nvidia-cuda-mps-control -d || true; fi

"${PYTHON:-python3}" "$repo/benchmarks/gpu/on_gpu.py" "$plan" --minutes "$minutes" "$@" 2>&1 | tee "$out/on_gpu.log"

finished=$(find runs -name report.json -printf '%h\n' | sort)
for run in $finished; do find "$run" -name config.yaml -o -name metrics.jsonl -o -name report.json; done > reports.txt
tar czf "$out/reports.tgz" -T reports.txt
for run in $finished; do find "$run" -name model.safetensors -size +0 ! -path '*/dense*'; done > weights.txt
{ XZ_OPT="-T0 -1" tar cJ -T weights.txt || true; } | head -c 56000000 | split -b 14000000 -d -a 1 - "$out/weights.tar.xz."
echo "$(wc -w <<< "$finished") runs are finished" | tee -a "$out/on_gpu.log"

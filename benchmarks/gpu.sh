#!/usr/bin/env bash
# Build the kernels for the GPU of this machine, check their results, look for wrong accesses and
# races, then measure:
#
#     benchmarks/gpu.sh [build] [check] [sanitize] [measure]        all four where none is named
#
# Takes the installed Python, torch and nvcc, and no network: scikit-build-core and nanobind must be
# installed. Goes to build/gpu and benchmarks/results. PYTHON names another Python, ROWS other rows
# of fps.py, ONLY (a pattern of pytest's -k) fewer cases for the sanitizer, LIMIT its seconds.
# Ends with a status other than 0 where there is no GPU, a check fails, or one could not be made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
rows=${ROWS:-Ours,Ours-T,PatchCore}
only=${ONLY:-native_agrees and cuda-}
limit=${LIMIT:-150}
target=$PWD/build/gpu
results=benchmarks/results
status=0

fail() {
  echo "gpu.sh: $*" >&2
  exit 1
}

asked() {
  local stage=$1
  shift
  [[ $# -eq 0 || " $* " == *" $stage "* ]]
}

for stage in "$@"; do
  [[ " build check sanitize measure " == *" $stage "* ]] || fail "no such stage: $stage"
done

found=$("$python" - <<'PYTHON'
try:
    import torch
except ImportError as error:
    raise SystemExit(f"torch cannot be imported: {error}")
if not torch.cuda.is_available():
    raise SystemExit("torch finds no GPU here; nvidia-smi shows what there is")
major, minor = torch.cuda.get_device_capability()
# wgmma is there under the architecture's own name alone.
print(f"{major}{minor}" + "a" * (major >= 9), torch.cuda.get_device_name().lower().replace(" ", "-"))
PYTHON
) || fail "no GPU to check and measure on"
read -r arch gpu <<<"$found"
echo "gpu.sh: $gpu, architecture $arch"

if asked build "$@"; then
  command -v nvcc >/dev/null || fail "nvcc is not on the path: the kernels cannot be compiled"
  "$python" -c "import scikit_build_core, nanobind" || fail "the build's tools are not installed"
  rm -rf "$target"
  CMAKE_ARGS="-DCMAD_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=$arch" "$python" -m pip install \
    --quiet --no-index --no-deps --no-build-isolation --target "$target" .
fi
export PYTHONPATH=$target
"$python" -c "import cmad._native._cuda" || fail "there are no kernels in $target: run build first"

if asked check "$@"; then
  "$python" -m pytest -q -k cuda tests/ops || status=1
  "$python" -m pytest -q tests/detectors/test_on_gpu.py || status=1
fi

if asked sanitize "$@"; then
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
      echo "gpu.sh: $tool"
      # Each tensor in memory of its own, so that an access behind its end is seen.
      PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout "$limit" \
        compute-sanitizer --tool "$tool" --error-exitcode 9 --print-limit 20 \
        "$python" -m pytest -q -x -k "$only" tests/ops/test_agreement.py ||
        { echo "gpu.sh: $tool failed, or took more than $limit s" >&2 && status=1; }
    done
  else
    echo "gpu.sh: compute-sanitizer is not on the path: accesses and races are not checked" >&2
    status=1
  fi
fi

# Nothing is timed whose results are wrong.
[[ $status -eq 0 ]] || fail "a check failed, or could not be made; nothing was measured"

if asked measure "$@"; then
  mkdir -p "$results"
  "$python" benchmarks/ops.py --device cuda --json "$results/ops-$gpu.json"
  measured=(benchmarks/fps.py --device cuda --precision fp16 --rows "$rows" --repeats 20)
  for batch in 1 32; do
    "$python" "${measured[@]}" --batch "$batch"
    "$python" "${measured[@]}" --batch "$batch" --graphs
  done
fi

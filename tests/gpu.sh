#!/usr/bin/env bash
# Tries GPUs on a machine with one NVIDIA GPU, without network and Docker: what is found, and what tasks are given. Run by hand.
#
# Usage: tests/gpu.sh [PYTHON]    PYTHON: one with the dependencies of pyproject.toml; default: python3
set -euo pipefail
shopt -s inherit_errexit

PYTHON=$(type -P "${1:-python3}")
CHECKOUT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
DIRECTORY=$(mktemp -d)
# Those that have ended cannot be ended again.
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$DIRECTORY"' EXIT
export PYTHONPATH=$CHECKOUT
unset CUDA_VISIBLE_DEVICES

main() {
  nvidia-smi --list-gpus
  look 'assert [len(look.gpus), look.problem, look.gpus[0].is_in_use] == [1, "", False]'
  uuid=$(nvidia-smi --query-gpu=uuid --format=csv,noheader)
  write_program

  try 'one after the other, on the GPU' ok '{gpus: 1, gpu_memory: 20G}'
  check "[each['gpu'] for each in seen] == ['$uuid'] * 2 and [each['found'] for each in seen] == [1, 1]"
  check "all(each['slot'] == '0' and 29500 <= int(each['port']) < 32768 for each in seen) and first['end'] <= second['begin']"
  try 'two share the GPU' ok '{gpus: 0.5}' --slots 2
  check "{each['slot'] for each in seen} == {'0', '1'} and first['port'] != second['port'] and first['end'] > second['begin']"
  try 'without GPU' ok '{cpus: 1}'
  check "[each['found'] for each in seen] == [0, 0] and [each['threads'] for each in seen] == ['1', '1']"
  try 'a GPU that is too small' refused '{gpus: 1, gpu_memory: 900G}'
  CUDA_VISIBLE_DEVICES=5 try 'a GPU that the user hides' refused '{gpus: 1}'
  CUDA_VISIBLE_DEVICES=${uuid:0:12} try 'a GPU that the user names' ok '{gpus: 1}'

  TASK_DIR=$DIRECTORY SECONDS_HELD=60 "$PYTHON" "$DIRECTORY/project/program.py" --x=other &
  until [[ -e $DIRECTORY/held ]]; do sleep 0.2; done
  look 'assert look.gpus[0].is_in_use'
  echo 'all is well'
}

look() {
  "$PYTHON" -c "from framework.worker.devices import Devices
devices = Devices()
while not (look := devices.look()).is_known: pass  # each call waits
print(look)
$1"
}

# try TITLE EXPECTED RESOURCES OPTION…: runs two tasks; EXPECTED: ok, or refused.
try() {
  local outcome=ok
  echo "--- $1"
  printf 'command: python3 program.py\nresources: %s\n' "$3" >"$DIRECTORY/project/project.yml"
  timeout 120 "$PYTHON" -m framework run "$DIRECTORY/project" --data "$DIRECTORY/data" --fresh "${@:4}" || outcome=refused
  [[ $outcome == "$2" ]] || { echo "unexpected: $outcome" && exit 1; }
}

# check EXPRESSION: of what the two tasks have seen, in the order of their beginnings.
check() {
  cat "$DIRECTORY"/data/tasks/*/*/files/seen
  "$PYTHON" -c "import glob, json, sys
seen = [json.load(open(max(glob.glob(f'{task}/*/files/seen')))) for task in glob.glob('$DIRECTORY/data/tasks/*')]
first, second = seen = sorted(seen, key=lambda each: each['begin'])
sys.exit(0 if $1 else '''wrong: $1''')"
}

write_program() {
  mkdir "$DIRECTORY/project"
  echo 'x: [1, 2]' >"$DIRECTORY/project/parameters.yml"
  cat >"$DIRECTORY/project/program.py" <<'PROGRAM'
import ctypes, json, os, time
begin, cuda, found, memory = time.time(), ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_uint64()
if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(found)) == 0 and found.value:
    context = ctypes.c_void_p()
    assert cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
    assert cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(2 << 30)) == 0
open(os.environ["TASK_DIR"] + "/held", "w").close()
time.sleep(float(os.environ.get("SECONDS_HELD", 3)))
names = {"gpu": "CUDA_VISIBLE_DEVICES", "slot": "TASK_SLOT", "port": "MASTER_PORT", "threads": "OMP_NUM_THREADS"}
seen = {name: os.environ.get(variable) for name, variable in names.items()}
with open(os.environ["TASK_DIR"] + "/seen", "w") as file:
    print(json.dumps({**seen, "found": found.value, "begin": begin, "end": time.time()}), file=file)
PROGRAM
}

main

#!/bin/bash
# What a ModelArts training job runs on each node, once per node: `command` of a custom image.
# Only starts srs.modelarts.entry, which does the rest; arguments go there. SRS_PYTHON names a Python.
set -eu
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)

# CANN's own files read unset variables and end with whatever their last test gave.
for file in "${ASCEND_TOOLKIT_HOME:-/usr/local/Ascend/ascend-toolkit}/set_env.sh" \
  /usr/local/Ascend/cann/set_env.sh /usr/local/Ascend/nnal/atb/set_env.sh; do
  if [ -r "$file" ]; then
    set +eu
    . "$file"
    set -eu
  fi
done

python=${SRS_PYTHON:-}
for candidate in "$root/.venv/bin/python" python3.11 python3; do
  [ -n "$python" ] || ! command -v "$candidate" >/dev/null || python=$candidate
done
cd "$root"
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m srs.modelarts.entry "$@"

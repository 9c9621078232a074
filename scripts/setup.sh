#!/bin/sh
# Find a Python 3.11 or 3.12 that can make virtual environments; it runs scripts/setup.py.
# PYTHON=/path/to/python chooses another.
set -eu
usable='import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'
for python in ${PYTHON:-python3.11 python3.12 python3}; do
  # Run it: a pyenv shim exists for versions that aren't selected.
  if "$python" -c "$usable" >/dev/null 2>&1; then
    exec "$python" "$(dirname "$0")/setup.py"
  fi
done
echo "setup: no Python 3.11 or 3.12 with venv found (tried ${PYTHON:-python3.11, python3.12, python3}):" \
  "install one (Debian 12: apt-get install python3-venv; else pyenv install 3.11) or set PYTHON=" >&2
exit 2

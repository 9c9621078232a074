#!/bin/sh
# Re-lock requirements/*.lock from pyproject.toml and requirements/*.in. For maintainers: needs uv.
#
#   scripts/lock.sh [cpu|cuda|ascend]… [-- --upgrade …]
#
# Versions already locked are kept unless a *.in file asks for others; what follows `--` goes to
# `uv pip compile` (`--upgrade`, `--upgrade-package trl`).
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "lock: uv is missing: pip install uv" >&2; exit 2; }

platforms=
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    cpu | cuda | ascend) platforms="$platforms $1"; shift ;;
    *) echo "lock: $1: name cpu, cuda or ascend" >&2; exit 2 ;;
  esac
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

cpython="implementation_name == 'cpython' and python_full_version < '3.13'"
# uv repeats the environments in every marker; say only what tells the lock's machines apart.
shorten() {
  x86="(platform_machine == 'x86_64' and sys_platform == 'linux')"
  arm="(platform_machine == 'aarch64' and sys_platform == 'linux')"
  mac="(platform_machine == 'arm64' and sys_platform == 'darwin')"
  both="$arm or $x86"
  [ "$platform" = cpu ] && linux_only=" ; sys_platform == 'linux'" || linux_only=
  sed -e "s/python_full_version < '3.13' and //g; s/implementation_name == 'cpython' and //g" \
    -e "s/platform_python_implementation != 'PyPy' and //g" \
    -e "s/ ; $mac or $both\$//; s/ ; $both\$/$linux_only/" \
    -e "s/ ; (python_full_version < '3.12' and .*/ ; python_version < '3.12'/" \
    -e "s/ ; (python_full_version == '3.12.\*' and .*/ ; python_version == '3.12'/"
}

linux="$cpython and sys_platform == 'linux'"
for platform in ${platforms:-cpu cuda ascend}; do
  source=requirements/$platform.in
  lock=requirements/$platform.lock
  environments="\"$linux and platform_machine == 'x86_64'\", \"$linux and platform_machine == 'aarch64'\""
  if [ "$platform" = cpu ]; then
    environments="$environments, \"$cpython and sys_platform == 'darwin' and platform_machine == 'arm64'\""
  fi
  cp pyproject.toml "$scratch/"
  printf '\n[tool.uv]\nenvironments = [%s]\n' "$environments" >>"$scratch/pyproject.toml"
  : >"$scratch/excludes"
  : >"$scratch/overrides"
  [ ! -f "requirements/$platform.excludes" ] || cp "requirements/$platform.excludes" "$scratch/excludes"
  [ ! -f "requirements/$platform.overrides" ] || cp "requirements/$platform.overrides" "$scratch/overrides"
  cp "$source" "$scratch/extra.in"
  [ ! -f "$lock" ] || cp "$lock" "$scratch/out.lock"
  (
    cd "$scratch"
    uv pip compile pyproject.toml extra.in --extra dev --universal --python-version 3.11 --quiet \
      --excludes excludes --overrides overrides --no-header --no-annotate \
      --output-file out.lock "$@" >/dev/null
  )
  {
    echo "# Written by scripts/lock.sh from pyproject.toml and $source; edit those."
    sed '/^#/!q' "$source" | grep '^#'
    # A line after `#! ` is a pin of what the resolver must not see.
    { sed -n 's/^#! //p' "$source"; cat "$scratch/out.lock"; } | shorten | LC_ALL=C sort -f
  } >"$scratch/new.lock"
  mv "$scratch/new.lock" "$lock"
  rm -f "$scratch/out.lock"
  echo "$lock: $(grep -c '^[^#]' "$lock") pins"
done

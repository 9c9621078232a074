#!/bin/sh
# Make a Docker engine answer on this machine: scripts/docker_engine.sh [start|stop]
#
# start: nothing when one answers already. As root on Debian or Ubuntu, installs what is missing
#        (docker.io, and debootstrap for a base image where no container registry answers), starts dockerd
#        in the background and waits until it answers. Elsewhere says what to do.
# stop:  ends the dockerd that start began, and no other.
#
# DOCKERD_ARGS adds to dockerd's arguments, such as "--storage-driver vfs"; DOCKER_STATE_DIR keeps its log.
set -eu
state=${DOCKER_STATE_DIR:-/run/srs-docker}
pidfile=$state/pid
log=$state/dockerd.log
wait_s=${DOCKER_WAIT_S:-60}

fail() {
  echo "docker_engine: $*" >&2
  exit 2
}

ours() {
  [ -f "$pidfile" ] && [ "$(cat "/proc/$(cat "$pidfile")/comm" 2>/dev/null)" = dockerd ]
}

start() {
  if docker info >/dev/null 2>&1; then
    echo "docker_engine: an engine answers"
    return
  fi
  [ "$(uname -s)" = Linux ] || fail "no engine answers: start Docker Desktop (or colima start)"
  [ "$(id -u)" = 0 ] || fail "no engine answers: run this as root, or: sudo systemctl start docker, and join the docker group"
  missing=
  command -v dockerd >/dev/null || missing=docker.io
  command -v docker >/dev/null || missing=docker.io
  command -v debootstrap >/dev/null || missing="$missing debootstrap"
  if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || fail "missing: $missing; install them with this system's package manager"
    mkdir -p "$state"
    echo "docker_engine: installing $missing"
    # shellcheck disable=SC2086
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      $missing iptables; } >"$state/apt.log" 2>&1 ||
      fail "apt-get could not install $missing: $(grep '^E:' "$state/apt.log" | tail -n 1) (see $state/apt.log)"
    # The package may have started it as a service.
    docker info >/dev/null 2>&1 && return
  fi
  mkdir -p "$state"
  # A session of its own: Ctrl-C in the caller's terminal must not end it.
  # shellcheck disable=SC2086
  setsid dockerd ${DOCKERD_ARGS:-} >"$log" 2>&1 </dev/null &
  echo $! >"$pidfile"
  waited=0
  until docker info >/dev/null 2>&1; do
    ours || [ "$waited" -lt 2 ] || fail "dockerd ended: $(tail -n 1 "$log") (see $log)"
    [ "$waited" -lt "$wait_s" ] || fail "dockerd doesn't answer after $wait_s s (see $log)"
    sleep 1
    waited=$((waited + 1))
  done
  echo "docker_engine: dockerd answers (pid $(cat "$pidfile"), log $log); end it with $0 stop"
}

stop() {
  if ours; then
    pid=$(cat "$pidfile")
    kill "$pid"
    waited=0
    while ours; do
      [ "$waited" -lt 30 ] || fail "dockerd (pid $pid) doesn't end"
      sleep 1
      waited=$((waited + 1))
    done
    echo "docker_engine: dockerd (pid $pid) ended"
  fi
  rm -f "$pidfile"
}

case ${1:-start} in
  start) start ;;
  stop) stop ;;
  *) fail "$1: say start or stop" ;;
esac

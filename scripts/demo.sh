#!/usr/bin/env bash
# Pollux answering the kernel's own TCP, on a TAP device in a network namespace made for this run:
#   scripts/demo.sh          stays up until Ctrl-C, with a status line a second
#   scripts/demo.sh --once   ends after a short burst; exit status 0 if every answer was right
# Needs root, no huge pages and no NIC. Leaves nothing behind, however it ends.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

once=false
case "${1:-}" in
    --once) once=true ;;
    '') ;;
    *) die "usage: demo.sh [--once]" ;;
esac

namespace=pollux-demo-$$
device=pollux0
url=http://192.0.2.1/
url_v6=http://[2001:db8::1]/
server=
scratch=

clean_up() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [ -n "$server" ]; then
        end_process "$server"
        wait "$server" 2>/dev/null || true
    fi
    [ -z "$scratch" ] || { remove_namespace "$namespace"; rm -rf "$scratch"; }
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

inside() { ip netns exec "$namespace" "$@"; }
server_is_up() { kill -0 "$server" 2>/dev/null; }
fail() {
    printf 'demo.sh: %s; the server said:\n' "$1" >&2
    sed 's/^/    /' "$scratch/server.log" >&2
    exit 1
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; fails when the server ends or the time is up.
wait_for() {
    local tries=$(($1 * 10)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        server_is_up || fail "the server has ended before $what"
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "waited in vain for $what"
        sleep 0.1
    done
}

setup
need_root_and_tun
build release apps/pollux-httpd apps/pollux-ctl

scratch=$(mktemp -d /tmp/pollux-demo.XXXXXX)
make_namespace "$namespace"
# EAL's files (sockets, its lock) go to the scratch folder, so that they vanish even if the server is killed.
# Its own session keeps Ctrl-C away from it: this script ends it.
RUNTIME_DIRECTORY=$scratch setsid ip netns exec "$namespace" \
    "$root/build/release/apps/pollux-httpd" -c "$root/config/demo.toml" --status >"$scratch/server.log" 2>&1 &
server=$!
wait_for 30 "the TAP device" ip -n "$namespace" link show "$device"
kernel_has_v6=false
[ -d /proc/sys/net/ipv6 ] && kernel_has_v6=true
configure_tap "$namespace" "$device" 192.0.2.2/24 $($kernel_has_v6 && echo 2001:db8::2/64)
wait_for 30 "the first answer" inside curl -s -o /dev/null --max-time 1 "$url"

say "two requests over one connection"
inside curl -sv --max-time 5 -w '%{stderr}# status %{http_code}, new connections %{num_connects}\n' \
    "$url" "${url}hello.html" >"$scratch/curl" 2>&1 || fail "curl got no answer"
cat "$scratch/curl"
[ "$(grep "^# status" "$scratch/curl")" = $'# status 200, new connections 1\n# status 200, new connections 0' ] ||
    fail "curl did not get two answers over one connection"

if $kernel_has_v6; then
    say "the same over IPv6"
    # For its first second an address is asked for on the link before it is used.
    wait_for 10 "the first answer over IPv6" inside curl -s -o /dev/null --max-time 1 "$url_v6"
    inside curl -s --max-time 5 -w '# status %{http_code} from [%{remote_ip}]\n' "$url_v6" | tee "$scratch/curl6"
    grep -q "^# status 200 from" "$scratch/curl6" || fail "curl got no answer over IPv6"
else
    say "this machine's kernel has no IPv6: that half is not shown"
fi

say "wrk, 64 connections for 3 seconds"
inside wrk -t1 -c64 -d3s --latency "$url" | tee "$scratch/wrk"
grep -q '^Requests/sec: *[0-9.]*[1-9]' "$scratch/wrk" || fail "wrk got no answer"
! grep -qE 'Socket errors|Non-2xx' "$scratch/wrk" || fail "wrk counted errors"
server_is_up || fail "the server has ended"

if $once; then
    say "all answers were right"
    exit 0
fi

cat <<END

== The server is up. From a second terminal:

    ip netns exec $namespace curl -v $url $url_v6
    ip netns exec $namespace wrk -t1 -c64 -d10s $url
    $root/build/release/apps/pollux-ctl --socket $scratch/*.sock conns

== Ctrl-C ends it.
END
lines=$(wc -l <"$scratch/server.log")
while server_is_up; do
    sleep 1
    now=$(wc -l <"$scratch/server.log")
    [ "$now" -le "$lines" ] || sed -n "$((lines + 1)),${now}p" "$scratch/server.log"
    lines=$now
done
fail "the server has ended"

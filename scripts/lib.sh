# Shared by the scripts of this folder: packages, builds, network namespaces. Source it; it starts nothing.
# shellcheck shell=bash

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf '== %s\n' "$*"; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# What building, testing and showing needs. libdpdk-dev brings every driver, net_tap and net_ring among them.
packages=(
    g++ meson ninja-build pkg-config
    libdpdk-dev libtomlplusplus-dev libcli11-dev nlohmann-json3-dev
    libgtest-dev libgmock-dev libbenchmark-dev
    python3 wrk apache2-utils curl nmap
    iproute2 iputils-ping ethtool
    netbase  # /etc/services: without it wrk does not know what port http is
)

missing_packages() {
    local name
    for name in "${packages[@]}"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

setup() {
    local missing
    mapfile -t missing < <(missing_packages)
    if [ "${#missing[@]}" -eq 0 ]; then
        say "setup: all ${#packages[@]} packages are there"
        return
    fi
    [ "$(id -u)" -eq 0 ] || die "missing packages: ${missing[*]} (run scripts/setup.sh as root)"
    say "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}" </dev/null
}

need_root_and_tun() {
    [ "$(id -u)" -eq 0 ] || die "network namespaces and TAP devices need root"
    if [ ! -c /dev/net/tun ]; then
        mkdir -p /dev/net
        mknod /dev/net/tun c 10 200 || die "no /dev/net/tun on this machine"
    fi
}

# build TYPE [TARGET...]: configures build/TYPE once and builds. Types: release, debug, checked, asan, tsan, and with
# clang: fuzz, fuzz-coverage.
build() {
    local type=$1 options compiler=${CXX:-}
    shift
    case $type in
        release) options=(--buildtype=release -Db_lto=true -Dtests=false) ;;
        debug) options=(--buildtype=debug) ;;
        asan) options=(--buildtype=debugoptimized -Doptimization=1 '-Db_sanitize=address,undefined' -Db_lundef=false -Dbench=false) ;;
        checked) options=(--buildtype=debugoptimized -Ddpdk=disabled -Dbench=false) ;;  # fast, with assertions
        tsan) options=(--buildtype=debugoptimized -Doptimization=1 -Db_sanitize=thread -Db_lundef=false -Dbench=false) ;;
        fuzz)
            compiler=clang++
            options=(--buildtype=debugoptimized -Doptimization=1 '-Db_sanitize=address,undefined' -Db_lundef=false -Dbench=false -Dfuzz=true)
            ;;
        fuzz-coverage)
            compiler=clang++
            options=(--buildtype=debug -Doptimization=1 -Dbench=false -Dfuzz=true
                '-Dcpp_args=-fprofile-instr-generate -fcoverage-mapping' -Dcpp_link_args=-fprofile-instr-generate)
            ;;
        *) die "unknown build type $type" ;;
    esac
    local dir=$root/build/$type
    if [ ! -f "$dir/build.ninja" ]; then
        rm -rf "$dir"
        say "configuring build/$type"
        [ "${CI:-}" = true ] && options+=(--werror)
        env ${compiler:+CXX="$compiler"} meson setup "$dir" "$root" "${options[@]}" >"/tmp/pollux-meson.$$" 2>&1 ||
            { cat "/tmp/pollux-meson.$$" >&2; rm -f "/tmp/pollux-meson.$$"; die "meson setup failed"; }
        rm -f "/tmp/pollux-meson.$$"
    fi
    say "building build/$type${*:+: $*}"
    ninja -C "$dir" ${JOBS:+-j "$JOBS"} "$@"
}

# Ends a process that this script started: politely, then not.
end_process() {
    local pid=$1
    kill -TERM "$pid" 2>/dev/null || return 0
    for _ in $(seq 30); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

# make_namespace NAME: nothing in it but loopback. Devices get no IPv6 addresses of their own: net_tap gives both sides
# of a TAP one MAC address, and what the kernel makes of it would be the engine's.
make_namespace() {
    ip netns add "$1"
    ip netns exec "$1" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/addr_gen_mode' 2>/dev/null || true
    ip -n "$1" link set lo up
}

# remove_namespace NAME: with every process in it.
remove_namespace() {
    local pid
    for pid in $(ip netns pids "$1" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
    ip netns delete "$1" 2>/dev/null || true
}

# configure_tap NAMESPACE DEVICE ADDRESS/PREFIX...: the kernel's side of a net_tap port. Both sides come up with one MAC
# address, so the kernel takes another; and the port wants whole segments with checksums.
configure_tap() {
    ip netns exec "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null 2>&1 || true
    ip -n "$1" link set "$2" address 02:00:00:00:00:02
    add_addresses "$@"
    ip -n "$1" link set "$2" up
}

# add_addresses NAMESPACE DEVICE ADDRESS/PREFIX...: ready at once, IPv6 ones without asking the link first.
add_addresses() {
    local namespace=$1 device=$2 address
    shift 2
    for address in "$@"; do
        case $address in
            *:*) ip -n "$namespace" address replace "$address" dev "$device" nodad ;;
            *) ip -n "$namespace" address replace "$address" dev "$device" ;;
        esac
    done
}

# make_veth NAMESPACE DEVICE ADDRESS/PREFIX...: a pair of virtual Ethernet devices inside the namespace. DEVICE is for the
# engine (net_af_packet, net_af_xdp) and has no address; the kernel's end is called client0. With its offloads on, a veth hands
# over segments of 64 KB with checksums left open: they are off on both ends.
make_veth() {
    local namespace=$1 engine=$2 device
    shift 2
    ip -n "$namespace" link add "$engine" type veth peer name client0
    for device in "$engine" client0; do
        ip netns exec "$namespace" ethtool -K "$device" tx off tso off gso off gro off >/dev/null
        ip -n "$namespace" link set "$device" up
    done
    add_addresses "$namespace" client0 "$@"
}

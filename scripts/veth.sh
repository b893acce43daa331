#!/usr/bin/env bash
# The other side of a Pollux on AF_PACKET or AF_XDP, by hand: a network namespace with a pair of virtual Ethernet devices in it.
#   scripts/veth.sh make NAME     namespace NAME: pollux0 for the engine, client0 with 192.0.2.2/24 and
#                                 2001:db8::2/64 for the kernel
#   scripts/veth.sh remove NAME   removes it, and ends what runs in it
# Needs root. config/af_packet.toml and config/af_xdp.toml say how to go on.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { die "usage: veth.sh make|remove NAME"; }

[ $# -eq 2 ] && [ -n "$2" ] || usage
[ "$(id -u)" -eq 0 ] || die "network namespaces need root"
case $1 in
    make)
        make_namespace "$2"
        make_veth "$2" pollux0 192.0.2.2/24 2001:db8::2/64 || { remove_namespace "$2"; die "no pair of veth devices on this machine"; }
        ;;
    remove) remove_namespace "$2" ;;
    *) usage ;;
esac

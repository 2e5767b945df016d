#!/bin/sh
# Puts back what this node lacks of its overlay: after a boot all of it, later what somebody took away.
# Reads what the modules wrote, writes nothing where all is as it was left, and leaves alone what is somebody else's.
# By the role podnet.baremetal.flannel. podnet.service runs it.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
environment=${0%/*}/subnet.env table=${0%/*}/podnet.nft
cd "${STATE_DIRECTORY:-/var/lib/podnet-boot}" || exit 1
exec 9</proc/self/ns/net
flock 9 || exit 1 # one run on the node at a time: the modules hold the same lock

run=${RUNTIME_DIRECTORY:-/run/flannel} # systemd.exec(5)
left=$run/.left-by-podnet # what `shown` said then
devices=$(sed -n 's/.* ip link add name \([^ ]*\) .*/\1/p' device.sh 2>/dev/null)

# What is to be there, and what the kernel shows of it, in few processes. Only compared with itself, so that its form does not matter.
shown() {
    {
        cat "$environment" "$table" "$run/subnet.env" ./*
        for device in $devices; do
            cat "/proc/sys/net/ipv6/conf/$device/accept_ra"
            bridge fdb show dev "$device" state permanent
        done
        for device in $devices; do
            printf '%s\n' "addr show dev $device scope global" "neigh show dev $device nud permanent" "nexthop show dev $device"
        done | ip -details -force -batch - # `ip link` would first try whether RTM_NEWLINK is known (iplink_have_newlink())
        ip -4 route show table main proto 86
        ip -6 route show table main proto 86
        nft --stateless list table inet podnet
    } 2>/dev/null | sort | cksum
}

# Until an interface has this underlay address: DHCP may be late, also after network-online.target.
await() {
    for _ in $(seq 60); do
        [ -z "$(ip -oneline addr show to "$1")" ] || return 0
        sleep 1
    done
    echo "No interface has $1, the underlay address of this node." >&2
}

# Whether the device is there. One that only shares the name is left alone.
there() {
    link=$(ip -details -oneline link show dev "$1" 2>/dev/null) || return 1
    case $link in
    *" vxlan id $2 "*" dstport $3 "*) return 0 ;;
    esac
    echo "$1 is there and is not the VXLAN device with the VNI $2 and the port $3: it was left alone." >&2
    exit 1
}

# Whether the device has the MAC.
has() {
    ip -oneline link show dev "$1" 2>/dev/null | grep -qw "link/ether $2"
}

# Which networks of peers.sh somebody else routes, in the place that a route of ours would take: main table, default metric.
taken() {
    for family in -4 -6; do ip $family -Numeric route show table main; done |
        awk -v devices="$devices" '
            BEGIN { for (n = split(devices, names, " "); n; n--) ours["dev " names[n]] }
            FILENAME != "-" { if ($1 == "route") wanted[$3 ~ "/" ? $3 : $4]; next }
            / proto 86( |$)/ || (/ metric / && !/:.* metric 1024( |$)/) { next }
            { sub(/^[a-z]+ /, ""); for (i = 2; i < NF; i++) if ($i " " $(i + 1) in ours) next }
            $1 in wanted { print $1 }' ./peers.sh -
}

# The commands on standard input, to ip or bridge.
replay() {
    if [ "$others" ]; then grep -vwF "$others"; else cat; fi | "$1" -force -batch - || failed=1
}

[ "$(shown)" != "$(cat "$left" 2>/dev/null)" ] || exit 0
rm -f "$left"
echo "The overlay of this node is not as it was left: putting it back."
failed=0
others=$(taken)
[ -z "$others" ] || { failed=1; echo "Somebody else routes these, which were left alone:" "$others" >&2; }
for text in ./device.sh ./peers.sh; do
    [ ! -e "$text" ] || . "$text" >/dev/null
done
[ ! -e "$table" ] || nft -f "$table" || failed=1
if ! cmp -s "$environment" "$run/subnet.env"; then
    [ -d "$run" ] || { mkdir "$run" && cp -p .made-by-podnet "$run"; }
    cp "$environment" "$run/.subnet.env.podnet-boot" && mv "$run/.subnet.env.podnet-boot" "$run/subnet.env" || failed=1
fi
[ "$failed" = 0 ] || exit 1
shown >"$left"

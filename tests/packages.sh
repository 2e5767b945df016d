#!/bin/sh
# Install the Debian packages named as arguments, those that are missing; say in one sentence why where that is not possible.
set -eu

for package in "$@"; do  # what stays as an argument is missing
    shift
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep --quiet '^installed$' || set -- "$@" "$package"
done
[ $# -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "This is not Debian or Ubuntu: install the equivalents of $* yourself, then 'touch build/packages.done' and run make again." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "The packages $* are missing and only root can install them: run make as root, or install them first." >&2
    exit 1
fi
echo "Installing $* ..."
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "$@" >build/apt.log 2>&1 || { cat build/apt.log >&2; exit 1; }

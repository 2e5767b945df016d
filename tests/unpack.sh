#!/bin/sh
# Unpack the Debian package named first into the directory named second, and install nothing: no service of it starts on this machine.
set -eu

package=$1 directory=$2
if ! command -v apt-get >/dev/null; then
    echo "This is not Debian or Ubuntu: unpack the equivalent of $package into $directory yourself, then run make again." >&2
    exit 1
fi
echo "Unpacking $package into $directory ..."
rm -rf "$directory.new"
mkdir -p "$directory.new"
(
    cd "$directory.new"
    apt-get download --quiet=2 "$package" >apt.log 2>&1 ||
        { apt-get update --quiet=2 && apt-get download --quiet=2 "$package"; } >>apt.log 2>&1 || { cat apt.log >&2; exit 1; }
    dpkg-deb --extract "$package"_*.deb .
    rm "$package"_*.deb apt.log
)
rm -rf "$directory"
mv "$directory.new" "$directory"

#!/bin/sh
# Unpack the Debian packages named first, as one argument, with those that they need and that are missing here, into the directory
# named second, and install nothing: no service of them starts on this machine.
set -eu

packages=$1 directory=$2
if ! command -v apt-get >/dev/null; then
    echo "This is not Debian or Ubuntu: unpack the equivalent of $packages into $directory yourself, then run make again." >&2
    exit 1
fi

fetch() {
    {
        echo "$packages"
        echo "$packages" | xargs apt-get install --simulate --no-install-recommends | sed -n 's/^Inst \([^ ]*\) .*/\1/p'
    } | xargs apt-get download --quiet=2
}

echo "Unpacking $packages into $directory ..."
rm -rf "$directory.new"
mkdir -p "$directory.new"
(
    cd "$directory.new"
    fetch >apt.log 2>&1 || { apt-get update --quiet=2 && fetch; } >>apt.log 2>&1 || { cat apt.log >&2; exit 1; }
    for link in bin lib lib64 sbin; do  # as on this machine, that one may lie over the other
        [ ! -L "/$link" ] || { mkdir -p "usr/$link" && ln -s "usr/$link" "$link"; }
    done
    for package in *.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --keep-directory-symlink
        rm "$package"
    done
    rm apt.log
)
rm -rf "$directory"
mv "$directory.new" "$directory"

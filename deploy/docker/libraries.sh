#!/usr/bin/env bash
# Copies the libraries that a program loads into an image's root, each at its own place, with the cache that the loader
# finds them by; prints the Debian packages they are of.
#
#   libraries.sh PROGRAM ROOT
set -euo pipefail

program=$1 root=$2
mapfile -t libraries < <(ldd "$program" | grep -o '/[^ ]*')
if ldd "$program" | grep 'not found' >&2; then exit 1; fi
mkdir -p "$root/etc"
# As files: the links of a library point outside the closure.
cp -L --parents "${libraries[@]}" "$root"
cp /etc/ld.so.conf "$root/etc/"
cp -r /etc/ld.so.conf.d "$root/etc/"
ldconfig -r "$root"

# dpkg knows a file by the place it was packaged for, which is with or without /usr.
for library in "${libraries[@]}"; do
  real=$(readlink -f "$library")
  dpkg-query -S "$real" 2>/dev/null || dpkg-query -S "${real#/usr}" 2>/dev/null || dpkg-query -S "$library"
done | sed 's/:.*//' | sort -u

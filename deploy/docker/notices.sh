#!/usr/bin/env bash
# Leaves in an image's root what its contents' licences ask for, and what scanners read: the licence files of the Go
# modules in a program, and of each Debian package its copyright file and its record.
#
#   notices.sh PROGRAM ROOT [PACKAGE…]
set -euo pipefail

program=$1 root=$2
shift 2

modules=$(go env GOMODCACHE)
go version -m "$program" | awk '$1 == "dep" && $3 ~ /^v/ {print $2, $3}' | while read -r module version; do
  # The module cache spells capitals as !lower.
  from=$modules/$(sed 's/[A-Z]/!\L&/g' <<<"$module@$version")
  to=$root/licenses/$module@$version
  mkdir -p "$to"
  find "$from" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) -exec cp {} "$to" \;
  if [ -z "$(ls "$to")" ]; then echo "notices: $module has no licence file" >&2; exit 1; fi
done
mkdir -p "$root/licenses/go"
cp "$(go env GOROOT)/LICENSE" "$root/licenses/go/"

for package; do
  mkdir -p "$root/usr/share/doc/$package" "$root/var/lib/dpkg/status.d"
  cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
  dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
done

#!/bin/sh
# The files that /speed/garbage serves: random bytes, so that nothing on the way can compress them.
# Made once and kept in a volume. The sizes are those of $speedtrap_garbage_mib in the templates.
set -eu

folder=$SPEEDTRAP_GATEWAY_SPEED_DIR
mkdir -p "$folder"
for mib in 1 4 10 25 100; do
    file=$folder/$mib.bin
    [ ! -e "$file" ] || [ "$(wc -c <"$file")" != $((mib * 1048576)) ] || continue
    head -c "${mib}M" /dev/urandom >"$file.new"
    chmod 644 "$file.new"
    mv "$file.new" "$file"
done

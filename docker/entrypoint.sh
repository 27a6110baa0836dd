#!/bin/sh
# Compose mounts secret files with the owner and mode they have on the host, where they should be
# readable by their owner only. So this starts as root, hands the service its own copies (in memory:
# compose.yaml mounts a tmpfs there), and is never root again.
set -eu

export HOME=/tmp
[ "$(id -u)" = 0 ] || exec "$@"

secrets=/run/speedtrap
mkdir -p "$secrets"
for file in /run/secrets/*; do
    [ -e "$file" ] || continue
    copy=$secrets/${file##*/}
    install -m 0400 -o speedtrap -g speedtrap /dev/null "$copy"
    cat "$file" >"$copy"
done
exec setpriv --reuid=speedtrap --regid=speedtrap --clear-groups --no-new-privs -- "$@"

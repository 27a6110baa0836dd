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
    # First the mode, then the owner: root has no leave to change what is somebody else's.
    rm -f "$copy"
    (umask 0377 && cat "$file" >"$copy")
    chown speedtrap:speedtrap "$copy"
done
exec setpriv --reuid=speedtrap --regid=speedtrap --clear-groups --no-new-privs -- "$@"

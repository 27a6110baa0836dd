#!/bin/sh
# A key that was added or revoked counts within seconds, without a restart: when the key file has
# changed, NGINX reads its configuration again. A file it cannot read leaves the old keys in force.
set -eu

keys=$SPEEDTRAP_GATEWAY_KEYS_FILE

fingerprint() {
    sha256sum "$keys" 2>/dev/null || echo gone
}

# The shell that runs this script becomes NGINX's master process: watch as long as it lives.
watch() {
    seen=$(fingerprint)
    while sleep "$SPEEDTRAP_GATEWAY_WATCH_SECONDS" && kill -0 "$PPID" 2>/dev/null; do
        now=$(fingerprint)
        [ "$now" != "$seen" ] || continue
        seen=$now
        if nginx -t -q; then
            nginx -s reload && echo "$0: the key file has changed, reloaded"
        else
            echo "$0: the key file has changed and cannot be used; the old keys stay in force" >&2
        fi
    done
}
watch &

#!/bin/sh
# A key that was added or revoked and a certificate that was issued or renewed count within seconds,
# without a restart: when a file has changed, NGINX reads its configuration again. Open requests
# are finished by the old workers. What cannot be used leaves the old in force.
set -eu

seen=$SPEEDTRAP_GATEWAY_CONF_DIR/speedtrap

# changed FILE NAME: whether it is another one than 40-adopt.sh has looked at.
changed() {
    now=$(sha256sum "$1" 2>/dev/null || echo gone)
    [ "$now" != "$(cat "$seen/$2.seen")" ]
}

# The shell that runs this script becomes NGINX's master process: watch as long as it lives.
watch() {
    while sleep "$SPEEDTRAP_GATEWAY_WATCH_SECONDS" && kill -0 "$PPID" 2>/dev/null; do
        if changed "$SPEEDTRAP_GATEWAY_KEYS_FILE" keys; then
            what="the key file"
        elif changed "$SPEEDTRAP_GATEWAY_CERTIFICATE" certificate; then
            what="the certificate"
        else
            continue
        fi
        if "${0%/*}/40-adopt.sh"; then
            nginx -s reload && echo "$0: $what has changed, reloaded"
        else
            echo "$0: $what has changed and cannot be used; the old stays in force" >&2
        fi
    done
}
watch &

#!/bin/sh
# A key that was added or revoked and a certificate that was issued or renewed count within seconds,
# without a restart: when a file has changed, NGINX reads its configuration again. Open requests
# are finished by the old workers. What cannot be used leaves the old in force.
set -eu

fingerprint() {
    sha256sum "$1" 2>/dev/null || echo gone
}

# The shell that runs this script becomes NGINX's master process: watch as long as it lives.
watch() {
    keys=$(fingerprint "$SPEEDTRAP_GATEWAY_KEYS_FILE")
    certificate=$(fingerprint "$SPEEDTRAP_GATEWAY_CERTIFICATE")
    while sleep "$SPEEDTRAP_GATEWAY_WATCH_SECONDS" && kill -0 "$PPID" 2>/dev/null; do
        keys_now=$(fingerprint "$SPEEDTRAP_GATEWAY_KEYS_FILE")
        certificate_now=$(fingerprint "$SPEEDTRAP_GATEWAY_CERTIFICATE")
        if [ "$keys_now" != "$keys" ]; then
            what="the key file"
        elif [ "$certificate_now" != "$certificate" ]; then
            what="the certificate"
        else
            continue
        fi
        keys=$keys_now certificate=$certificate_now
        if "${0%/*}/40-adopt.sh"; then
            nginx -s reload && echo "$0: $what has changed, reloaded"
        else
            echo "$0: $what has changed and cannot be used; the old stays in force" >&2
        fi
    done
}
watch &

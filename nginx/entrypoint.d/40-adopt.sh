#!/bin/sh
# Makes configuration of what changes while the gateway runs: the keys, and the certificate. All or
# nothing: what NGINX cannot use leaves in force what was there before, and the exit status says so.
set -eu
umask 077

home=$SPEEDTRAP_GATEWAY_CONF_DIR/speedtrap
enabled=$home/enabled
new=$home/enabled.new
last=$home/enabled.last

say() {
    echo "$0: $*" >&2
}

fingerprint() {
    sha256sum "$1" 2>/dev/null || echo gone
}

# The file is data, not configuration: whatever is no key line is refused, by its number alone.
keys() {
    awk '
        function refuse(why) { print "api_keys, line " NR ": " why > "/dev/stderr"; bad = 1; exit 1 }
        /^[ \t\r]*(#|$)/ { next }
        !/^[ \t]*"[^"\\$ \t]+"[ \t]+"[a-z0-9][a-z0-9._-]*:(probe|viewer|bot|admin)";[ \t\r]*$/ {
            refuse("not of the form \"<key>\" \"<name>:<role>\"; with a role of probe, viewer, bot, admin")
        }
        {
            split($0, part, "\"")
            key = part[2]
            if (length(key) < 16 || length(key) > 200) refuse("a key has 16 to 200 characters")
            if (tolower(key) in seen) refuse("the same key as in line " seen[tolower(key)])
            seen[tolower(key)] = NR
            printf "\"k:%s\" \"%s %s\";\n", key, key, part[4]
        }
        END { exit bad }
    ' "$SPEEDTRAP_GATEWAY_KEYS_FILE"
}

# By this secret graph knows the gateway from whoever else reaches its port.
graph_header() {
    secret=
    if [ -e "$SPEEDTRAP_GATEWAY_SECRET_FILE" ]; then
        secret=$(
            awk 'NR > 1 || length < 16 || /[^A-Za-z0-9_-]/ { bad = 1 } { print } END { exit bad || !NR }' \
                "$SPEEDTRAP_GATEWAY_SECRET_FILE"
        ) || {
            say "gateway_secret: not one line of 16 or more letters, digits, - and _"
            return 1
        }
    fi
    echo "proxy_set_header X-Speedtrap-Gateway \"$secret\";"
}

# An address of the sixth version, where this machine has any.
listen6() {
    [ -z "$1" ] || [ ! -e /proc/net/if_inet6 ] || echo "listen $1 ipv6only=on;"
}

# prepare CERTIFICATE
prepare() {
    rm -rf "$new"
    mkdir "$new"
    keys >"$new/keys.map" || return 1
    graph_header >"$new/graph-header.inc" || return 1
    listen6 "${SPEEDTRAP_GATEWAY_LISTEN6:+$SPEEDTRAP_GATEWAY_LISTEN6 default_server}" >"$new/listen6.inc"
    listen6 "${SPEEDTRAP_GATEWAY_TLS_LISTEN6:+$SPEEDTRAP_GATEWAY_TLS_LISTEN6 ssl default_server}" >"$new/tls-listen6.inc"
    : >"$new/tls.conf"
    if [ -s "$1" ]; then
        cat "$1" >"$new/certificate.pem" || return 1
        echo "include $home/tls.conf;" >"$new/tls.conf"
        door=redirect
    elif [ -n "$SPEEDTRAP_GATEWAY_DOMAIN" ]; then
        door=waiting
    else
        door=site
    fi
    echo "include $home/$door.inc;" >"$new/public.inc"
}

# Into force, if NGINX can read it.
adopt() {
    rm -rf "$last"
    [ ! -d "$enabled" ] || mv "$enabled" "$last"
    mv "$new" "$enabled"
    nginx -t -q && return
    rm -rf "$enabled"
    [ ! -d "$last" ] || mv "$last" "$enabled"
    return 1
}

# Noted before anything is read: what changes from here on is a change to whoever watches.
fingerprint "$SPEEDTRAP_GATEWAY_KEYS_FILE" >"$home/keys.seen"
fingerprint "$SPEEDTRAP_GATEWAY_CERTIFICATE" >"$home/certificate.seen"

# What is gone keeps the one in force until the next start.
certificate=$SPEEDTRAP_GATEWAY_CERTIFICATE
[ -s "$certificate" ] || certificate=$enabled/certificate.pem
prepare "$certificate" || exit 1
adopt && exit

# A certificate that cannot be read must not keep a revoked key alive: the one in force stays. At the
# start there is none, and then the door waits for a better one: never without TLS what was meant to
# have it.
say "the certificate cannot be used; the old stays in force"
[ -d "$enabled" ] || SPEEDTRAP_GATEWAY_DOMAIN=${SPEEDTRAP_GATEWAY_DOMAIN:-unknown}
prepare "$enabled/certificate.pem" && adopt

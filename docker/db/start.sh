#!/bin/bash
# Hands mongod its own copies of the secrets (it gives up root before it reads them, and insists on
# a key file that nobody else may read), then goes the image's own way.
set -eu

for name in speedtest-db_root_username speedtest-db_root_password speedtest-db_keyfile; do
    # First the mode, then the owner: root has no leave to change what is somebody else's.
    copy=/run/speedtrap/$name
    rm -f "$copy"
    (umask 0377 && cat "/run/secrets/$name" >"$copy")
    chown mongodb:mongodb "$copy"
done
rm -f /run/speedtrap/ready

# A node that joins gets its users with everything else, from the others.
[ -z "${SPEEDTRAP_DB_JOINS:-}" ] || exec docker-entrypoint.sh mongod "$@"
export MONGO_INITDB_ROOT_USERNAME_FILE=/run/speedtrap/speedtest-db_root_username
export MONGO_INITDB_ROOT_PASSWORD_FILE=/run/speedtrap/speedtest-db_root_password
exec docker-entrypoint.sh mongod "$@"

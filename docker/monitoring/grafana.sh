#!/bin/sh
# As docker/entrypoint.sh, for an image that is somebody else's: root reads the password, which only
# its owner on the host may read, hands over a copy (in memory), and Grafana runs as its own user.
set -eu

copy=/run/speedtrap/grafana_password
# First the mode, then the owner: root has no leave to change what is somebody else's.
rm -f "$copy"
(umask 0377 && cat /run/secrets/grafana_password >"$copy")
chown grafana "$copy"
exec su -s /bin/sh grafana -c 'exec /run.sh'

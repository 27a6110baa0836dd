"""A certificate authority that speaks ACME, as one more service of the stack: Pebble."""

import json
from pathlib import Path

import trustme

DOMAIN = "speedtrap.test"
SERVER = "https://pebble:14000/dir"

# Also the name that it, certbot and the probe know the gateway by, and whom the probe trusts.
OVERRIDE = """\
  pebble:
    image: letsencrypt/pebble:latest
    command: [-config, /etc/authority/pebble.json]
    environment: {{ PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0" }}
    volumes: ["{folder}:/etc/authority:ro"]
    networks: [acme]
  certbot:
    environment: {{ REQUESTS_CA_BUNDLE: /etc/authority/api-ca.pem }}
    volumes: ["{folder}/api-ca.pem:/etc/authority/api-ca.pem:ro"]
  gateway:
    networks:
      acme: {{ aliases: [{domain}] }}
  probe:
    extra_hosts: ["{domain}:127.0.0.1"]
    environment: {{ SSL_CERT_FILE: /etc/authority/root.pem }}
    volumes: ["{folder}/root.pem:/etc/authority/root.pem:ro"]
"""

ROOT = (
    "import ssl, urllib.request as r; "
    "trusted = ssl.create_default_context(cafile='/etc/authority/api-ca.pem'); "
    "print(r.urlopen('https://pebble:15000/roots/0', context=trusted).read().decode())"
)
"""Prints, in certbot's container, the root of what it issues: a new one at each start."""


def prepare(folder: Path) -> str:
    """Its settings and the certificate of its own door; returns what compose must know."""
    folder.mkdir()
    own = trustme.CA()
    own.cert_pem.write_to_path(str(folder / "api-ca.pem"))
    door = own.issue_cert("pebble")
    door.private_key_pem.write_to_path(str(folder / "api.key"))
    door.cert_chain_pems[0].write_to_path(str(folder / "api.pem"))
    settings = {
        "listenAddress": "0.0.0.0:14000",
        "managementListenAddress": "0.0.0.0:15000",
        "certificate": "/etc/authority/api.pem",
        "privateKey": "/etc/authority/api.key",
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "certificateValidityPeriod": 90 * 86_400,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}), encoding="utf-8")
    for file in folder.iterdir():
        # Whatever user its image runs as.
        file.chmod(0o644)
    return OVERRIDE.format(folder=folder, domain=DOMAIN)

"""graph and web on one port, as `speedtrap up` serves them: `python -m tests.lab.together PORT`."""

import sys

import uvicorn
from speedtrap_graph import logs
from speedtrap_graph.app import create_app as create_graph
from speedtrap_graph.http.patience import PatientHttp
from speedtrap_graph.http.socket import PatientSocket
from speedtrap_graph.settings import GraphSettings
from speedtrap_web.app import create_app as create_web
from speedtrap_web.settings import WebSettings

from speedtrap_up.service import compose

if __name__ == "__main__":
    settings = GraphSettings()
    logs.set_up("text", "INFO")
    uvicorn.run(
        compose(create_graph(settings), create_web(WebSettings())),
        http=PatientHttp,
        ws=PatientSocket,
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=settings.socket_patience_s,
        ws_ping_timeout=settings.socket_patience_s,
        port=int(sys.argv[1]),
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=5,
    )

"""What the service takes at most; `tests/probe/test_bounds.py` holds it to the service's check."""

MAX_MBPS = 1_000_000.0
MAX_MS = 3_600_000.0
MAX_BYTES = 10**14  # a terabit per second for a quarter of an hour
MAX_CPU_PERCENT = 100_000.0  # of many processors
MAX_OFFSET_MS = 1e13
MAX_DURATION_S = 86_400.0
TEXT_LIMIT = 200
URL_LIMIT = 500

# By field of `Figures`: what a figure may be at most. The least is 0; a rate of 0 is no figure.
FIGURES = {
    "download_mbps": MAX_MBPS,
    "upload_mbps": MAX_MBPS,
    "latency_ms": MAX_MS,
    "jitter_ms": MAX_MS,
    "packet_loss_ratio": 1.0,
    "loaded_latency_down_ms": MAX_MS,
    "loaded_latency_up_ms": MAX_MS,
    "bytes_received": MAX_BYTES,
    "bytes_sent": MAX_BYTES,
}
# By field of `Conditions`: least and most.
CONDITIONS = {
    "cross_traffic_mbps": (0.0, MAX_MBPS),
    "cross_traffic_down_mbps": (0.0, MAX_MBPS),
    "cross_traffic_up_mbps": (0.0, MAX_MBPS),
    "cpu_percent": (0.0, MAX_CPU_PERCENT),
    "cpu_wait_percent": (0.0, 100.0),
    "link_mbps": (0.0, MAX_MBPS),
    "clock_offset_ms": (-MAX_OFFSET_MS, MAX_OFFSET_MS),
}

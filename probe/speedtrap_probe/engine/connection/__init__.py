"""A connection: names, addresses, proxies, sockets."""

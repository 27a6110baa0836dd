"""One file a channel, found by `speedtrap_bots.channel.kinds`."""

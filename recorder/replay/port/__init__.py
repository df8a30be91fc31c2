"""The one port of the replay: handshakes, sockets, who may come in, and its plain HTTP pages."""

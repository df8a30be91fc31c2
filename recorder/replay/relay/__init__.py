"""The imitated upstreams fed from a recording: each is a listener of a session."""

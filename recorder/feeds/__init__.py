"""First room: from the upstreams' sockets to frames worth keeping."""

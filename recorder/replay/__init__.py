"""Fourth room: recorded or generated messages are played to clients, in the upstreams' own protocols."""

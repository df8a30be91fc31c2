"""The demo: both upstreams imitated on loopback, recorded from, and checked message by message."""

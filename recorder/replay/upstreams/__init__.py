"""Both upstreams' server sides, imitated: pure protocols, faults to order, and the host that gives them sockets."""

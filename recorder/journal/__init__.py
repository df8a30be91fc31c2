"""Second room: messages become durable, in one order, in groups."""

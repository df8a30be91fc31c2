"""The page to look at: what is recorded, how it is doing, and a player."""

// Coverage of the last weeks: one row a feed, one cell a day.

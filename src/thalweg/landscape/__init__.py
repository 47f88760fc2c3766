"""The loss around a point along chosen directions, with paths laid over it."""

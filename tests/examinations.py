"""What two examinations must have in common to be the same."""


def without_seconds(value):
    """The JSON of an examination without what a clock wrote into it."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k != "seconds"}
    if isinstance(value, list):
        return [without_seconds(v) for v in value]
    return value

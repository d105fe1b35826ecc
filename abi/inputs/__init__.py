"""One file per input kind: how it is encoded at a width, and what a width costs."""

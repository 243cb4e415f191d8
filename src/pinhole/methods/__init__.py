"""One paper, one file. The table of names is `pinhole.registry`."""

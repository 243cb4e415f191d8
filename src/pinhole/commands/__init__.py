"""The commands of `pinhole`, one file each: they parse, call and print."""

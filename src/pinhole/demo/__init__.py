"""A page to try methods on: a picture, what is kept of it, and two conversations about it side by side."""

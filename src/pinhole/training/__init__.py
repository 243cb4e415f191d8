"""Training of the methods that learn."""

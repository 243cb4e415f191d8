"""Efficiency: time, memory and FLOPs of every method, on checkpoints or on named architectures with random weights."""

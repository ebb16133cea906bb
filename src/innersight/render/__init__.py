"""Tensors become 8-bit pictures here and nowhere else."""

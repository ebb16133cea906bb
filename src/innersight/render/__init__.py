"""Tensors become 8-bit images here and nowhere else."""

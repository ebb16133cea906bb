"""What is recorded of a few fixed images while a network learns: one file each; see `innersight.train.FixedImages`."""

"""What a model file claims to hold, read from its headers and compared with the file before anything is allocated."""

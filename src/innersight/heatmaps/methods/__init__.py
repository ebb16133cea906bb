"""One file per heatmap method; each registers one function of a `Request` or `Trial`."""

"""One file per heatmap method; each registers one function that answers a `Request`."""

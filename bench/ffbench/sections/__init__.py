"""One module per burden or latency that the plain side-by-side rounds cannot show."""

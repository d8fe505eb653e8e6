"""One module per measured system: how to install it, fill its backlog and drive it."""

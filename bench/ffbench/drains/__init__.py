"""Worker processes of the Python peers: each drains a prepared queue and prints the seconds as JSON."""

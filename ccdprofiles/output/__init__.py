"""The output folder: its lock, its log, and what it may hold."""

"""The output folder: its lock, its log, and its contents."""

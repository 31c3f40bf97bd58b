"""What a run reports: the table of the night, its summary and its page."""

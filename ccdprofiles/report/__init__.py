"""The report of a run: the table of the night, its summary and its page."""

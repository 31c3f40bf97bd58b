"""The night as a table and as a page."""

"""From the headers of a folder to a plan of what is made from what."""

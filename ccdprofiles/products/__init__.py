"""One product on the disk: its planes, its header, its checksums."""

"""The shipped profiles, one file per instrument. Copy one to start your own."""

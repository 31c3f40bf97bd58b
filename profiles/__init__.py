"""The shipped profiles, one file for each instrument; copy one as a start for your own."""

"""The shipped profiles, one file an instrument; copy one to begin your own."""

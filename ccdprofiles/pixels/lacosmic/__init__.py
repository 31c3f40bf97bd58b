"""L.A.Cosmic (van Dokkum 2001, PASP 113, 1420), evaluated only where a cosmic ray is possible."""

"""Which tasks a round gets: pure policies over cards, no IO and no clock."""

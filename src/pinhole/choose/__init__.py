"""The cheapest setting that holds on a user's own dialogues."""

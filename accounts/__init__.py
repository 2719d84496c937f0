"""Who may come in: people, machine users and their tokens."""

"""Ways to reach a customer. A channel knows nothing of another channel, of rules or of the database."""

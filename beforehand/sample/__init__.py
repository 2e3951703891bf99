"""The sample shop: a seeded, made-up population for the demo and the tests."""

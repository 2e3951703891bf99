"""Sight: metrics and traces for whoever is on duty. Both look on (``messaging.onlookers``) and decide nothing."""

"""One supervised tree: the Prefect server as a child; post room, worker and heartbeat in this process."""

"""Prefect flows, thin: open a transaction, call, report. The only folder that imports prefect."""

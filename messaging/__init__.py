"""From decision to delivery: gates, planning, the outbox, rendering, receipts, channels."""

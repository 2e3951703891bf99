"""Pages (FastAPI): the post room now; console, webhooks and customer pages later. The only place for fastapi."""

"""Every table and column, declared once. Nothing here imports a framework."""

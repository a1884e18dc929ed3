"""How the tables of an SQL store came to be what they are: one module in `versions` for each step, for Alembic."""

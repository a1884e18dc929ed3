"""Looking at runs: choosing, comparing and tracing them, in any store. Nothing here knows a backend."""

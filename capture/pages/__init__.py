"""Pages about runs, in HTML and Markdown, that need nothing but themselves."""

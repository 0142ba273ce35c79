"""The admin page: plain HTML, CSS and ES modules that talk to `/api/v1`; nothing is built and nothing is fetched."""

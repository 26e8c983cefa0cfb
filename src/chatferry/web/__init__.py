"""What comes in and is looked at by HTTP: hooks, the API, pages, health. `app.build` puts it together."""

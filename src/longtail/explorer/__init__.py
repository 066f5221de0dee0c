"""A local web application, and a JSON API, around one fitted model."""

from longtail.explorer.serve import bind, load_server, serve

__all__ = ["bind", "load_server", "serve"]

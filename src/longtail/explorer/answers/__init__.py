"""Answers to requests, from the desk."""

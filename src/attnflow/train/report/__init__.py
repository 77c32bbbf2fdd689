"""Runs as pages: tables, figures and readable posts."""

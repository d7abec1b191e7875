"""The HTML report: its page, plots and templates."""

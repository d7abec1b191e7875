"""The use cases: download, plan, select, status, verify, adopt, report and others."""

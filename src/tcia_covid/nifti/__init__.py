"""NIfTI volumes: checked, taken into a collection's folder, received through Aspera."""

"""NIfTI volumes: checked, taken into a collection's folder, received through Aspera.

`nifti.adopt.adopt` takes in what is there already, `nifti.download.download` fetches the rest.
"""

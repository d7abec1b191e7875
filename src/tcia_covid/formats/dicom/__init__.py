"""DICOM files: the identity in their header, and whether they are complete."""

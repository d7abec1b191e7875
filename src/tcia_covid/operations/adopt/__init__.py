"""Import DICOM files that already exist: verify them, place them in the layout."""

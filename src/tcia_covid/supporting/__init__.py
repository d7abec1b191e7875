"""What belongs to a collection and is not one of its images: tables, annotations, manifests."""

FOLDER = "supporting"
"""Of the files in the collection's folder, and of their receipts in its state folder."""

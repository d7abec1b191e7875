"""What belongs to a collection and is not one of its images: tables, annotations, manifests."""

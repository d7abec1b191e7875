"""NCI's Imaging Data Commons, through the plain S3 interface of its public buckets."""

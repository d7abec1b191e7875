"""What is known without a request: collections, their series, citations."""

"""What stands on single calls: embeddings, transcriptions, batches."""

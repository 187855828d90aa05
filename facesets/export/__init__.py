"""What a swap tool reads: pictures of one face each, and the files that roop-unleashed, ReActor and VisoMaster load."""

"""Photos to faces: decode, detect, align, recognise; the part that works on the Windows side too."""

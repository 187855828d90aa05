"""Photos to faces: decode, detect, align, recognise; everything that the Windows side has to carry."""

"""What other programs read: pictures of one face each and the files of swap tools; when asked for, training folders and
sidecars."""

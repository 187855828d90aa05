"""Names of files that a server, or somebody who uploads to it, may have thought of."""

NASTY = ["", ".", "..", "../../etc/passwd", "/etc/passwd", "C:\\Windows\\x.jpg", "a\0b.jpg", "con", "CON.jpg",
         "lpt1.tar.gz", "com¹.jpg", "nul .jpg",
         "trailing. ", "trailing...", ".hidden", "x" * 300 + ".jpg",
         "ü" * 300 + ".jpeg", "a/b\\c.jpg",
         "x\n\x1b[31m.jpg", "\u202egpj.exe", "a" + "\u0301" * 200 + ".jpg", "IMG\u2028.jpg",
         "?*<>|\":.jpg", " lead.jpg",
         "name.verylongsuffixthatisnone", "\ud800.jpg", ".jpg", "...", "-rf.jpg", "~", "%2e%2e%2f.jpg", "CONIN$.png"]

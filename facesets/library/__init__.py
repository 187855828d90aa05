"""The faceset library: folders and manifests, changed all or nothing, and the operations of sort_faces.py."""

"""What people look at: the report page, its pictures and charts."""

"""What people look at: the report page, its pictures and charts, and the decisions that a person takes in it."""

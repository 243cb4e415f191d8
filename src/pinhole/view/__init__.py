"""What was measured and what was kept, to look at: pictures, tables and the report page."""

"""What is shown of a comparison: its columns, and tables, figures and a page of them."""

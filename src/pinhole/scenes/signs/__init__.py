"""The second embedded world: signs in several fonts and a bar chart, on photographs."""

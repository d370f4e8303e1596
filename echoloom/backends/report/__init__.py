"""Reports for people: pictures, charts and pages that need nothing but a browser."""

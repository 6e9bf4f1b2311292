"""Web page of a sweep: tables and plots, in one file that needs no network."""

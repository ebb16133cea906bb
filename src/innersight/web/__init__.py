"""The front end over a study: one set of plain ES modules and two hosts, a server and a single HTML file."""

"""Units on GKE and Vertex.  Read `works` first."""

"""HTTP faces: peer plane, gateway, control."""

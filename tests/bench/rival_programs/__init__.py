"""Scripts that run as processes of their own, most of them with a rival's interpreter."""

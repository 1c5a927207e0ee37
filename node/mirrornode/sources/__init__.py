"""Who yields bytes: peers, trustless gateways, plain HTTP files, this disk."""

"""SPDY/3.1, as far as kubectl port-forward speaks it.

Sources: SPDY Protocol - Draft 3.1 (chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1),
github.com/moby/spdystream, which is at both ends in Kubernetes.
"""

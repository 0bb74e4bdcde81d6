"""Kubernetes: the API client, list-watch, the Lease, and what pods and PodAllocations mean.

The only importer of `kubernetes` (for kubeconfigs) and of `urllib3`. Objects are raw JSON, decoded into small
structs that hold only what is needed; typed API models are never imported: they cost 45 MB and half a second.
"""

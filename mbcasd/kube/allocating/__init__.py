"""The agent's side of Kubernetes: which containers of its node are managed, by what contract, and what is written.

Pure, values in and values out: `members` (a pod's containers), `autoscalers` and `limitranges` (what other objects of
the API say about them), `selection` (why one is not managed), `contracts` (what its owner asked for), `intents` (what
a PodAllocation should say).
I/O: `watches` (the caches of one node), `allocator` (writes PodAllocations, learns what became of them).
"""

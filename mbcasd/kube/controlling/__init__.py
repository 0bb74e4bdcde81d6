"""The resize controller: what PodAllocations ask for becomes what pods have, one patch at a time.

Pure, values in and values out: `outcomes` (what an answer means), `pods` (what a pod has), `progress` (how far the
kubelet is), `authors` and `judging` (whose values stand there), `fitness`, `fitting` and `goals` (what a container may
have next), `verdict` and `reconcile` (what to do about one pod now), `answered` (what follows from an answer),
`saying` and `statuses` (what to write and to announce), `patches` (the request itself).
I/O: `queue` (which pod is due), `views` (the caches), `gate` (may a
request go out), `worker` (carries verdicts out), `controller` (all of it).
"""

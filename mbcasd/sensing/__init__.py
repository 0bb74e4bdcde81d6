"""Kernel files to samples: which cgroups exist, what they used, what limits them; nothing here writes.

The daemon reads a hundred cgroups ten times a second, so the path from a file to a `CpuSample` is short: handles
stay open (`reader`), text is taken apart by position (`parse`), and all else (`mounts`, `tree`, `discovery`,
`layout`) happens when a cgroup appears.
"""

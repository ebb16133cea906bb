"""Everything on disk: files of bounded size, files written whole, and studies that may come from a stranger.

Nothing but `store` loads torch.
"""

"""Every image of the labels fetched once, verified, fingerprinted and kept by content.

`build_image_index` is the asset function: from the sources in a manifest to an `ImageIndex`, with
the bytes in an `ImageCache`. `fetch_bytes` brings one image for the command line. How pixels come
out of bytes is not decided here but in `webcam_ml.scoring`, which training shares with the runtime.

Trust. Sources come from the label database, and whoever can write there chooses what is read:

* Local paths and ``file://`` are read as the user who runs the pipeline. Only regular files are,
  and what is not an image goes no further than a count in the index.
* ``http(s)`` may lead to public addresses only, unless `FetchSettings.allow_private_addresses`
  says otherwise. The address that is checked is the one that is connected to, at each redirect.
* Proxy variables of the environment are not used: behind a proxy this package could not see
  which address is reached.
* Other URLs go to their fsspec driver, which connects where its own configuration says and keeps
  its own time limits. Drivers that take a host from the URL (``ftp``, ``webhdfs``, …) cannot be
  checked, so they need ``allow_private_addresses``; chained URLs (``a::b``) are refused.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

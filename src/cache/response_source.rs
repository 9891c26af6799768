//! Where a response came from, as `Cache-Status` says it.

/// Where a response came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Local,
    Redis,
    /// Computed for this request.
    Miss,
    /// Computed for another request that was first.
    Collapsed,
    /// Computed because the request asked to bypass the cache.
    Bypass,
}

impl Source {
    /// The value of `Cache-Status` (RFC 9211).
    pub fn status(self) -> &'static str {
        match self {
            Source::Local => "rapport; hit; detail=local",
            Source::Redis => "rapport; hit; detail=redis",
            Source::Miss => "rapport; fwd=miss",
            Source::Collapsed => "rapport; fwd=miss; collapsed",
            Source::Bypass => "rapport; fwd=bypass",
        }
    }
}

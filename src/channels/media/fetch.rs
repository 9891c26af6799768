//! What a channel answers when it is asked for a file, in the same types for every kind of channel.

use bytes::Bytes;
use futures_util::stream::LocalBoxStream;

/// A file that comes.
pub struct FetchedFile {
    /// As the channel says.
    pub mime_type: Option<String>,
    /// As the channel says; a file that is another one has not come whole.
    pub sha256: Option<[u8; 32]>,
    /// How large it is, if the channel says so.
    pub bytes: Option<u64>,
    /// Its bytes, piece by piece, or why the rest does not come.
    pub pieces: LocalBoxStream<'static, Result<Bytes, String>>,
}

/// Why a file does not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// It may come in a while.
    Passing(String),
    /// The channel says that it does not have it. It may yet, for a moment.
    Gone(String),
}
